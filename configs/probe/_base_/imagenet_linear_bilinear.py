"""As imagenet_linear.py, resized bilinearly (MoCo v3, MoBY)."""

_base_ = './imagenet_linear.py'

train_view = [dict(type='RandomResizedCrop'), dict(type='RandomFlip')]
test_view = [dict(type='Resize', of_image=8 / 7), dict(type='CenterCrop')]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='MultiView', views=[dict(transforms=test_view)]),
    dict(type='PackViews'),
]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='MultiView', views=[dict(transforms=train_view)]),
            dict(type='PackViews'),
        ]))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
