"""As imagenet_linear.py, resized bilinearly (MoCo v3, MoBY)."""

_base_ = './imagenet_linear.py'

train_view = [dict(type='RandomResizedCrop'), dict(type='RandomFlip')]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=train_view)]), _base_.pack]
test_view = [dict(type='Resize', of_image=8 / 7), dict(type='CenterCrop')]
test_pipeline = [
    _base_.load, dict(type='MultiView', views=[dict(transforms=test_view)]), _base_.pack
]

train_dataloader = dict(dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
