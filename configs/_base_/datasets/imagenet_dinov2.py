"""ImageNet, without its labels, as DINOv2's two global and eight local crops.

The official code blurs with one minus the probabilities that it states (1, .1 and .5), and its
released weights were trained so: the first global crop is never blurred, the second nearly always.
"""
_base_ = './imagenet_dino.py'

global_crop = dict(type='RandomResizedCrop', scale=(0.32, 1.0), interpolation='bicubic')
local_crop = dict(
    type='RandomResizedCrop', of_image=3 / 7, scale=(0.05, 0.32), interpolation='bicubic')
blur = dict(type='GaussianBlur', sigma=(0.1, 2.0))
solarize = dict(type='Solarize', threshold=128, p=0.2)
views = [
    dict(transforms=[global_crop, *_base_.colour]),
    dict(transforms=[global_crop, *_base_.colour, dict(**blur, p=0.9), solarize]),
    dict(transforms=[local_crop, *_base_.colour, dict(**blur, p=0.5)], num=8),
]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 32 processes x 64 = 2048
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=pipeline))
