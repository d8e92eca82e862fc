# Multi-task ViT-Ti/4 on CIFAR-10: 64 patches of 4 x 4; tasks to choose from, all on both views.
# tools/experiments/studies/multitask.py compares choices of them with a smaller encoder.
_base_ = [
    '../../_base_/models/mtssl_cifar10_tasks.py',
    '../../_base_/default_runtime.py',
]

data_root = 'data/'
size = 32
iterations = 5000

model = dict(
    type='Pretrainer',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.491, 0.482, 0.447), std=(0.247, 0.244, 0.262)),
    encoder=dict(
        type='ViT',
        arch=dict(base='tiny'),
        image_size=size,
        patch_size=4,
        position='learned',
        prefix_tokens=('contrast', 'rotation')),
    tasks=dict(
        contrast=_base_.contrast, rotation=_base_.rotation, colour=_base_.colour,
        place=_base_.place))

view = [
    dict(type='RandomResizedCrop', scale=(0.2, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomFlip', p=0.5),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(
        type='PackedImages',
        file=data_root + 'cifar10_train.npz',
        pipeline=[
            dict(type='LoadImage'),
            dict(type='MultiView', views=[dict(transforms=view, num=2)]),
            dict(type='PackViews'),
        ]))

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0,
        custom_keys={'balancer': dict(lr_mult=10.0, decay_mult=0.0)}))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=250),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=250),
]
custom_hooks = [dict(type='ReduceLogsHook')]
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(by_epoch=False, interval=iterations, max_keep_ckpts=1))
log_processor = dict(by_epoch=False, window_size=50)
