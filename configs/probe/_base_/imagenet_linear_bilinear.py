"""As imagenet_linear.py, resized bilinearly (MoCo v3, MoBY)."""
_base_ = './imagenet_linear.py'
train_view = [dict(type='RandomResizedCrop'), dict(type='RandomFlip')]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=train_view)]), _base_.pack]
middle = [dict(type='Resize', of_image=8 / 7), dict(type='CenterCrop')]
bilinear = [_base_.load, dict(type='MultiView', views=[dict(transforms=middle)]), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=bilinear))
