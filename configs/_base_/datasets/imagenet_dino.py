"""ImageNet, without its labels, as DINO's two global and eight local crops."""
_base_ = './imagenet.py'

colour = [
    dict(type='RandomFlip', p=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
crop = dict(type='RandomResizedCrop', interpolation='bicubic')
blur = dict(type='GaussianBlur', sigma=(0.1, 2.0))
global1 = [dict(crop, scale=(0.4, 1.0)), *colour, dict(blur, p=1.0)]
solarize = dict(type='Solarize', threshold=128, p=0.2)
global2 = [dict(crop, scale=(0.4, 1.0)), *colour, dict(blur, p=0.1), solarize]
local = [dict(crop, of_image=3 / 7, scale=(0.05, 0.4)), *colour, dict(blur, p=0.5)]

views = [dict(transforms=global1), dict(transforms=global2), dict(transforms=local, num=8)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 8 processes x 128 = 1024
train_dataloader = dict(num_workers=10, dataset=dict(pipeline=pipeline))
