"""ImageNet, without its labels, through SimCLR's augmentation for ResNet, twice."""

_base_ = './imagenet_simclr.py'

strong = dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8)
view1 = view2 = [*_base_.view1[:2], strong, *_base_.view1[3:]]
views = [dict(transforms=view1), dict(transforms=view2)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
