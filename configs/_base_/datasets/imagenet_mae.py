"""ImageNet, without its labels, one view with MAE's light augmentation."""
_base_ = './imagenet.py'
view = [
    dict(type='RandomResizedCrop', scale=(0.2, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', p=0.5),
]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=view)]), _base_.pack]

# 64 processes x 64 = 4096
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=pipeline))
