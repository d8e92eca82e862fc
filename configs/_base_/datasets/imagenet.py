"""ImageNet, without its labels: what the loaders of all methods share; each adds its views."""
data_root = 'data/imagenet/train'
load, pack = dict(type='LoadImage', backend='opencv'), dict(type='PackViews')

train_dataloader = dict(
    batch_size=128, num_workers=8, persistent_workers=True, drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='ImageFolder', root=data_root))
