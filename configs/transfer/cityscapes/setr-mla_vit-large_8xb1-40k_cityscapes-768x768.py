# SETR-MLA, ViT-L, Cityscapes, 40k iterations: SETR's main model.
_base_ = './setr-mla_vit-base_8xb1-40k_cityscapes-768x768.py'

model = dict(
    backbone=dict(levels=(5, 11, 17, 23), encoder=dict(arch=dict(base='large'))),
    neck=dict(in_channels=[1024] * 4))
