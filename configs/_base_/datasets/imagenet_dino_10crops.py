"""ImageNet, without its labels, as two global and ten local crops, by the options of DINO's files."""
_base_ = './imagenet_dino.py'
global_crop = dict(_base_.crop, scale=(0.25, 1.0))
local_crop = dict(_base_.crop, of_image=3 / 7, scale=(0.05, 0.25))
views = [
    dict(transforms=[global_crop, *_base_.global1[1:]]),
    dict(transforms=[global_crop, *_base_.global2[1:]]),
    dict(transforms=[local_crop, *_base_.local[1:]], num=10),
]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
