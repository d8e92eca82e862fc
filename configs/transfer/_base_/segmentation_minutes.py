"""A fine-tuning of minutes on few images with masks, without data, batch and iterations."""
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
dataset = dict(type='BaseSegDataset', img_suffix='.jpg', seg_map_suffix='.png')
train_dataloader = dict(
    num_workers=1, persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True), dataset=dataset)
test_dataloader = dict(
    batch_size=1, num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, pipeline=test_pipeline))
test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_cfg = dict(type='TestLoop')

train_cfg = dict(type='IterBasedTrainLoop')
optim_wrapper = dict(
    type='OptimWrapper', constructor='mmvitssl.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(decay_rate=0.9, no_decay=('cls_token', 'pos_embed')))
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, max_keep_ckpts=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'))
randomness = dict(seed=0)
