"""ImageNet, without its labels, through SiT's first augmentation (timm's), twice; drawn three times."""

_base_ = './imagenet_mocov3.py'

view = [
    dict(type='RandomResizedCrop', scale=(0.08, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', p=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=view, num=2)]), _base_.pack]

# 4 processes x 72 = 288
train_dataloader = dict(batch_size=72, sampler=dict(repeats=3), dataset=dict(pipeline=pipeline))
