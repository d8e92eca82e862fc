"""As imagenet_linear.py, resized bilinearly (MoCo v3, MoBY)."""

_base_ = './imagenet_linear.py'

train_view = [dict(type='RandomResizedCrop', size=224), dict(type='RandomFlip')]
test_view = [dict(type='Resize', size=256), dict(type='CenterCrop', size=224)]
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
