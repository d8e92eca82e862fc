# MoCo v3, ViT-B; published linear top-1 76.5 (300 epochs).
_base_ = './mocov3_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(arch=dict(_delete_=True, base='base')))
