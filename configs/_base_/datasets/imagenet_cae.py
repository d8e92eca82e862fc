"""ImageNet, without its labels: the encoder's view, and the same crop at half size for the tokenizer."""

data_root = 'data/imagenet/train'

view = [
    dict(type='RandomFlip', p=0.5),
    dict(type='RandomResizedCrop', scale=(0.08, 1.0), interpolation='bicubic'),
]
# 112 pixels give DALL-E's tokenizer, of stride 8, one id for each 16 x 16 patch of 224
tokenizer_view = [
    dict(type='RandomFlip', p=0.5),
    dict(type='RandomResizedCrop', per_patch=8, scale=(0.08, 1.0), interpolation='lanczos'),
]

# 8 processes x 256 = 2048
train_dataloader = dict(
    batch_size=256,
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
            dict(
                type='MultiView',
                views=[dict(transforms=view), dict(transforms=tokenizer_view, same_as=0)]),
            dict(type='PackViews'),
        ]))
