"""ImageNet, without its labels, one crop and nothing else, as I-JEPA trains."""
_base_ = './imagenet_mae.py'

view = [dict(type='RandomResizedCrop', scale=(0.3, 1.0), interpolation='bilinear')]
# 16 processes x 128 = 2048
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        pipeline=[
            dict(type='LoadImage', backend='opencv'),
            dict(type='MultiView', views=[dict(transforms=view)]),
            dict(type='PackViews'),
        ]))
