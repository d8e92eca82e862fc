# MoCo v3, ViT-S: workers decode and crop, from JPEGs at reduced size where that is enough, and the
# device augments. The distribution of the views is that of the recipe.
_base_ = '../mocov3_vit-small_32xb128-cosine-300e_in1k.py'

crop = dict(type='RandomResizedCrop', scale=(0.08, 1.0))
augment = dict(
    type='DeviceAugment',
    views=[
        dict(transforms=[
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
            dict(type='RandomGrayscale', p=0.2),
            dict(type='GaussianBlur', sigma=(0.1, 2.0), p=1.0),
            dict(type='RandomFlip', p=0.5),
        ]),
        dict(transforms=[
            dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
            dict(type='RandomGrayscale', p=0.2),
            dict(type='GaussianBlur', sigma=(0.1, 2.0), p=0.1),
            dict(type='Solarize', threshold=128, p=0.2),
            dict(type='RandomFlip', p=0.5),
        ]),
    ])

model = dict(data_preprocessor=dict(augment=augment))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage', backend='opencv', reduce=1.5),
            dict(type='MultiView', views=[dict(transforms=[crop], num=2)]),
            dict(type='PackViews'),
        ]))
