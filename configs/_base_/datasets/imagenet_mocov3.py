"""ImageNet, without its labels, through MoCo v3's two asymmetric augmentations."""

data_root = 'data/imagenet/train'

view1 = [
    dict(type='RandomResizedCrop', scale=(0.08, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma=(0.1, 2.0), p=1.0),
    dict(type='RandomFlip', p=0.5),
]
view2 = [
    dict(type='RandomResizedCrop', scale=(0.08, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma=(0.1, 2.0), p=0.1),
    dict(type='Solarize', threshold=128, p=0.2),
    dict(type='RandomFlip', p=0.5),
]

# 32 processes x 128 = 4096
train_dataloader = dict(
    batch_size=128,
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
            dict(type='MultiView', views=[dict(transforms=view1), dict(transforms=view2)]),
            dict(type='PackViews'),
        ]))
