# Multi-task ViT-Ti/4 on CIFAR-10: 64 patches of 4 x 4; tasks to choose from, all on both views.
# tools/experiments/studies/multitask.py compares choices of them with a smaller encoder.
_base_ = '../../_base_/default_runtime.py'

data_root = 'data/'
size = 32
channels = 192
iterations = 5000
warmup = 250

# no momentum encoder, so that all choices of tasks cost the same but for their heads
contrast = dict(
    type='Contrastive',
    token='contrast',
    views=(0, 1),
    keys='online',
    projector=dict(
        type='ProjectionMLP', in_channels=channels, hidden_channels=512, out_channels=128,
        num_layers=2),
    head=dict(type='NTXent', temperature=0.2))
rotation = dict(type='Rotation', in_channels=channels, views=(0, 1), token='rotation')
# patch-level tasks alter 8 + 4 + 8 + 16 of 64 patches of each view, none of another's
colour = dict(
    type='Colorization', in_channels=channels, views=(0, 1), patches=8, predicts='mean', hidden=256)
place = dict(
    type='RelativePosition', in_channels=channels, views=(0, 1), pairs=2, distance=1, crop=0.75,
    jitter=0.2)
jigsaw = dict(
    type='Jigsaw', in_channels=channels, views=(0, 1), patches=8, cells=64, position='slot')
paint = dict(
    type='Inpainting', in_channels=channels, views=(0, 1), patches=16, modes=('mask', ),
    patch_size=4, distance='l1')

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
    tasks=dict(contrast=contrast, rotation=rotation, colour=colour, place=place))

view = [
    dict(type='RandomResizedCrop', size=size, scale=(0.2, 1.0)),
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
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=warmup, end=iterations),
]
custom_hooks = [dict(type='ReduceLogsHook')]
default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(by_epoch=False, interval=iterations, max_keep_ckpts=1))
log_processor = dict(by_epoch=False, window_size=50)
