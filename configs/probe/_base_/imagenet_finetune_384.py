"""As imagenet_finetune.py, tested on the whole shorter side, as at 384 pixels."""

_base_ = './imagenet_finetune.py'

test_pipeline = [
    dict(type='LoadImage'),
    dict(type='MultiView', views=[dict(transforms=[
        dict(type='Resize', interpolation='bicubic'), dict(type='CenterCrop')])]),
    dict(type='PackViews'),
]

val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
