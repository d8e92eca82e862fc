"""ImageNet, without its labels, one view with MAE's light augmentation."""

data_root = 'data/imagenet/train'

view = [
    dict(type='RandomResizedCrop', scale=(0.2, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', p=0.5),
]

# 64 processes x 64 = 4096
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(
        type='ImageFolder',
        root=data_root,
        pipeline=[
            dict(type='LoadImage', backend='opencv'),
            dict(type='MultiView', views=[dict(transforms=view)]),
            dict(type='PackViews'),
        ]))
