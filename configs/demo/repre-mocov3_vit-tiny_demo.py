# RePre on MoCo v3 at the size of a laptop: ViT-Ti on the photographs and scenes of the demo.
_base_ = [
    '../_base_/models/mocov3_vit.py',
    '../_base_/default_runtime.py',
]

data_root = 'work_dirs/demo/data'
epochs = 12
size = 112

model = dict(
    encoder=dict(arch='tiny', image_size=size, position='learned'),
    tasks=dict(
        contrastive=dict(
            projector=dict(in_channels=192, hidden_channels=512, out_channels=128),
            predictor=dict(in_channels=128, hidden_channels=512, out_channels=128)),
        reconstruction=dict(
            type='Reconstruction',
            neck=dict(type='MultiHierarchyFusion', in_channels=192, width=128),
            head=dict(type='PixelLoss'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrastive='classification', reconstruction='laplace')))

jitter = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8)
view1 = [
    dict(type='RandomResizedCrop', size=size, scale=(0.2, 1.0)),
    jitter,
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma=(0.1, 1.0), p=1.0),
    dict(type='RandomFlip', p=0.5),
]
view2 = [
    dict(type='RandomResizedCrop', size=size, scale=(0.2, 1.0)),
    jitter,
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma=(0.1, 1.0), p=0.1),
    dict(type='Solarize', threshold=128, p=0.2),
    dict(type='RandomFlip', p=0.5),
]

# photographs and the (unlabelled) training scenes; the scenes to evaluate on stay unseen
pipeline = [
    dict(type='LoadImage'),
    dict(type='MultiView', views=[dict(transforms=view1), dict(transforms=view2)]),
    dict(type='PackViews'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(
        type='ImageFolder',
        root=[data_root + '/pretrain', data_root + '/images/train'],
        pipeline=pipeline))
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
    optimizer=dict(type='AdamW', lr=8e-4, betas=(0.9, 0.98), weight_decay=0.1),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(custom_keys={'balancer': dict(lr_mult=10.0, decay_mult=0.0)}))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=2,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=2,
        convert_to_iter_based=True),
]
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='ReduceLogsHook'),
    dict(type='TaskPicturesHook', interval=4),
]
default_hooks = dict(
    logger=dict(interval=5), checkpoint=dict(interval=epochs // 2, max_keep_ckpts=2))
log_processor = dict(window_size=10)
