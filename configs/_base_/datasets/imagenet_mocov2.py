"""ImageNet, without its labels, through MoCo v2's augmentation, twice."""
_base_ = './imagenet_mocov3.py'
view1 = view2 = [
    dict(type='RandomResizedCrop', scale=(0.2, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma=(0.1, 2.0), p=0.5),
    dict(type='RandomFlip', p=0.5),
]
views = [dict(transforms=view1), dict(transforms=view2)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 8 processes x 128 = 1024
train_dataloader = dict(dataset=dict(pipeline=pipeline))
