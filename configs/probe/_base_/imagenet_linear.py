"""ImageNet with its labels: crops and flips, tested on the middle of 256 pixels; all bicubic."""
data_root = 'data/imagenet'
load, pack = dict(type='LoadImage'), dict(type='PackViews')

train_view = [dict(type='RandomResizedCrop', interpolation='bicubic'), dict(type='RandomFlip')]
test_view = [dict(type='Resize', of_image=8 / 7, interpolation='bicubic'), dict(type='CenterCrop')]
train_pipeline = [load, dict(type='MultiView', views=[dict(transforms=train_view)]), pack]
test_pipeline = [load, dict(type='MultiView', views=[dict(transforms=test_view)]), pack]

# 32 processes x 512 = 16384
train_dataloader = dict(
    batch_size=512, num_workers=8, persistent_workers=True, drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='LabelledFolder', root=data_root + '/train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=256, num_workers=8, persistent_workers=True,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='LabelledFolder', root=data_root + '/val', pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='ClassAccuracy')
val_cfg = test_cfg = dict()
