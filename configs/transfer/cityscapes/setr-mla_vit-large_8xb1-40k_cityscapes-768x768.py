# SETR-MLA, ViT-L, Cityscapes, 40k iterations: SETR's main model.
_base_ = './setr-mla_vit-base_8xb1-40k_cityscapes-768x768.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='large'))))
