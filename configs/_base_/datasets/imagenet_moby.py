"""ImageNet, without its labels, through MoBY's two augmentations, which flip first."""

_base_ = './imagenet_mocov3.py'

view1 = [
    dict(type='RandomResizedCrop', scale=(0.08, 1.0)),
    dict(type='RandomFlip', p=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma=(0.1, 2.0), p=1.0),
]
view2 = [
    dict(type='RandomResizedCrop', scale=(0.08, 1.0)),
    dict(type='RandomFlip', p=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma=(0.1, 2.0), p=0.1),
    dict(type='Solarize', threshold=128, p=0.2),
]
views = [dict(transforms=view1), dict(transforms=view2)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 8 processes x 64 = 512
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=pipeline))
