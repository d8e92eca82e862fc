"""ImageNet, without its labels, one crop and nothing else, as I-JEPA trains."""
_base_ = './imagenet.py'

view = [dict(type='RandomResizedCrop', scale=(0.3, 1.0), interpolation='bilinear')]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=view)]), _base_.pack]

# 16 processes x 128 = 2048
train_dataloader = dict(dataset=dict(pipeline=pipeline))
