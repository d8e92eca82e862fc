"""CIFAR-10 for studies: images of 32 pixels, a small ViT with patches of 4, one optimizer for all.

Every recipe of a study shares this file, so that only the method differs. The study sets the number
of iterations; the schedule ends with them.
"""
_base_ = '../../_base_/default_runtime.py'

size = 32
patch = 4
arch = dict(embed_dim=128, depth=4, num_heads=4)
preprocessor = dict(type='ViewPreprocessor', mean=(0.491, 0.482, 0.447), std=(0.247, 0.244, 0.262))

crop = dict(type='RandomResizedCrop', scale=(0.2, 1.0))
flip = dict(type='RandomFlip', p=0.5)
colour = [
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(
        type='PackedImages',
        file='data/cifar10_train.npz',
        pipeline=[
            dict(type='LoadImage', backend='opencv'),
            dict(type='MultiView', views=[dict(transforms=[crop, flip])]),
            dict(type='PackViews'),
        ]))

optim_wrapper = dict(
    type='AutocastOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={'balancer': dict(lr_mult=10.0, decay_mult=0.0)}))

train_cfg = dict(type='IterBasedTrainLoop', max_iters=4000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=200),
]
custom_hooks = [dict(type='ReduceLogsHook')]
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(by_epoch=False, interval=250, max_keep_ckpts=1))
log_processor = dict(by_epoch=False, window_size=50)
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
