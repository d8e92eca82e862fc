"""Pretraining on CamVid's training images: minutes on a CPU core; all methods see as many images."""

_base_ = '../../_base_/default_runtime.py'

size = 112
iterations = 200
warmup = 20

view = [
    dict(type='RandomResizedCrop', scale=(0.1, 1.0)),
    dict(type='RandomFlip', p=0.5),
]
jittered = [
    dict(type='RandomResizedCrop', scale=(0.1, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomFlip', p=0.5),
]
train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(
        type='ImageFolder',
        root='data/camvid/images/train',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='MultiView', views=[dict(transforms=view)]),
            dict(type='PackViews'),
        ]))
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0,
        custom_keys={'balancer': dict(lr_mult=5.0, decay_mult=0.0)}))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=warmup),
]
custom_hooks = [dict(type='MomentumUpdateHook'), dict(type='ReduceLogsHook')]
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=iterations))
log_processor = dict(by_epoch=False, window_size=20)
