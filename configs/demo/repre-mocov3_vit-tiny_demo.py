# RePre on MoCo v3 at the size of a laptop: a ViT-Ti of 4 blocks on the demo's close-ups.
_base_ = [
    '../_base_/models/mocov3_vit.py',
    '../_base_/default_runtime.py',
]

data_root = 'work_dirs/demo/data'
epochs = 20
size = 64

model = dict(
    encoder=dict(
        arch=dict(base='tiny', depth=4), image_size=size, position='learned',
        freeze_patch_embed=False),
    target=dict(momentum=0.98),
    tasks=dict(
        contrastive=dict(
            # the mean of the patches in place of the class token: patches are what heads will read
            token='mean',
            projector=dict(hidden_channels=512, out_channels=128),
            predictor=dict(hidden_channels=512)),
        reconstruction=dict(
            type='Reconstruction',
            neck=dict(type='MultiHierarchyFusion', width=64),
            head=dict(type='PixelLoss'))),
    # learned weights fall to a quarter for the contrast within hundreds of steps
    balancer=dict(type='FixedWeights'))

# any hue: the colour of an object says nothing of its class; no blur, which would hide textures
view = [
    dict(type='RandomResizedCrop', scale=(0.4, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.5, p=0.9),
    dict(type='RandomGrayscale', p=0.3),
    dict(type='RandomFlip', p=0.5),
]
pipeline = [
    dict(type='LoadImage'),
    dict(type='MultiView', views=[dict(transforms=view), dict(transforms=view)]),
    dict(type='PackViews'),
]
train_dataloader = dict(
    batch_size=32,
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
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1),
    clip_grad=dict(max_norm=3.0))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1,
        convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=1, convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ReduceLogsHook'),
    dict(type='TaskPicturesHook', interval=epochs // 4),
]
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=epochs // 2, max_keep_ckpts=2))
log_processor = dict(window_size=10)
