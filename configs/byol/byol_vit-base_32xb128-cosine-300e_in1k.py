# BYOL, ViT-B; linear top-1 73.9 as RePre reports it.
_base_ = './byol_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(arch=dict(_delete_=True, base='base')))
