# RePre on SimCLR at the size of a laptop: a ViT of 3 blocks on the demo's close-ups.
_base_ = [
    '../_base_/models/simclr_vit.py',
    '../_base_/default_runtime.py',
]

data_root = 'work_dirs/demo/data'
epochs = 60

# any hue, and often none: the colour of an object says nothing of its class; no blur, which would
# hide textures
colour = [
    dict(type='ColorJitter', brightness=0.6, contrast=0.6, saturation=0.4, hue=0.5, p=0.8),
    dict(type='RandomGrayscale', p=0.5),
    dict(type='RandomFlip', p=0.5),
]

model = dict(
    # in whole batches: a worker would take longer than a step
    data_preprocessor=dict(
        augment=dict(type='DeviceAugment', views=[dict(transforms=colour, num=2)])),
    encoder=dict(
        arch=dict(_delete_=True, embed_dim=96, depth=3, num_heads=3), image_size=24,
        patch_size=8, position='learned', freeze_patch_embed=False),
    tasks=dict(
        contrastive=dict(
            # the mean of the patches in place of the class token: patches are what heads will read
            token='mean',
            projector=dict(
                _delete_=True, type='ProjectionMLP', hidden_channels=256, out_channels=128,
                num_layers=2),
            head=dict(temperature=0.2)),
        reconstruction=dict(
            type='Reconstruction',
            levels=3,
            neck=dict(type='MultiHierarchyFusion', width=32),
            head=dict(type='PixelLoss'))),
    # learned weights fall to a quarter for the contrast within hundreds of steps
    balancer=dict(type='FixedWeights'))

pipeline = [
    dict(type='LoadImage'),
    dict(
        type='MultiView',
        views=[dict(transforms=[dict(type='RandomResizedCrop', scale=(0.3, 1.0))], num=2)]),
    dict(type='PackViews'),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='ImageFolder', root=data_root + '/pretrain', pipeline=pipeline))
test_dataloader = dict(
    batch_size=30,
    num_workers=1,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='ImageFolder', root=data_root + '/images/val', pipeline=pipeline))
test_evaluator = dict(type='PretextMetric')
test_cfg = dict()

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1,
        convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=1, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='ReduceLogsHook'),
    dict(type='TaskPicturesHook', interval=epochs // 4),
]
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=epochs // 2, max_keep_ckpts=2))
log_processor = dict(window_size=10)
