"""As imagenet_linear.py, with the crop of MAE's and CAE's probes: one draw, clipped to the image."""

_base_ = './imagenet_linear.py'

train_view = [
    dict(type='RandomResizedCrop', interpolation='bicubic', clip=True),
    dict(type='RandomFlip'),
]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=train_view)]), _base_.pack]

train_dataloader = dict(dataset=dict(pipeline=pipeline))
