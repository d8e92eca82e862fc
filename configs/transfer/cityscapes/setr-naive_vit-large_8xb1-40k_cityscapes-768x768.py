# SETR-Naive, ViT-L, Cityscapes, 40k iterations: SETR's main model.
_base_ = './setr-naive_vit-base_8xb1-40k_cityscapes-768x768.py'
model = dict(
    backbone=dict(levels=(10 / 24, 15 / 24, 20 / 24, 1.0), encoder=dict(arch=dict(base='large'))))
