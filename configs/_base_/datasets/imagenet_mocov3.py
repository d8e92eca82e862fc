"""ImageNet, without its labels, through MoCo v3's two asymmetric augmentations."""
_base_ = './imagenet.py'

crop = dict(type='RandomResizedCrop', scale=(0.08, 1.0))
flip = dict(type='RandomFlip', p=0.5)
colours = [
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
blur, rare_blur = [dict(type='GaussianBlur', sigma=(0.1, 2.0), p=p) for p in (1.0, 0.1)]
solarize = dict(type='Solarize', threshold=128, p=0.2)
view1 = [crop, *colours, blur, flip]
view2 = [crop, *colours, rare_blur, solarize, flip]
views = [dict(transforms=view1), dict(transforms=view2)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 32 processes x 128 = 4096
train_dataloader = dict(dataset=dict(pipeline=pipeline))
