"""ImageNet, without its labels, through BYOL's two augmentations: MoBY's, of bicubic clipped crops."""

_base_ = './imagenet_moby.py'

crop = dict(type='RandomResizedCrop', interpolation='bicubic', clip=True)
views = [dict(transforms=[crop, *_base_.view1[1:]]), dict(transforms=[crop, *_base_.view2[1:]])]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 32 processes x 128 = 4096
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))
