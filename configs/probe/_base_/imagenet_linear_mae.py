"""As imagenet_linear.py, with the crop of MAE's and CAE's probes: one draw, clipped to the image."""

_base_ = './imagenet_linear.py'

train_view = [
    dict(type='RandomResizedCrop', interpolation='bicubic', clip=True),
    dict(type='RandomFlip'),
]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='MultiView', views=[dict(transforms=train_view)]),
            dict(type='PackViews'),
        ]))
