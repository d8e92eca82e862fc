"""As imagenet_finetune.py at 384 pixels, where the test crop is the whole shorter side."""

_base_ = './imagenet_finetune.py'

train_view = [
    dict(type='RandomResizedCrop', size=384, interpolation='bicubic'),
    dict(type='RandomFlip'),
    dict(type='RandAugment', policy='rand-m9-mstd0.5-inc1', size=384),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='MultiView', views=[dict(transforms=[
        dict(type='Resize', size=384, interpolation='bicubic'),
        dict(type='CenterCrop', size=384)])]),
    dict(type='PackViews'),
]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='MultiView', views=[dict(transforms=train_view)]),
            dict(type='PackViews'),
        ]))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
