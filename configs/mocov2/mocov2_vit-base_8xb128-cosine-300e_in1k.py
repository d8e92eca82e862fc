# MoCo v2, ViT-B.
_base_ = './mocov2_vit-small_8xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(arch=dict(_delete_=True, base='base')))
