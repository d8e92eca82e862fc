"""I-JEPA's AdamW schedule for a total batch of 2048; the rate is not scaled with the batch."""

optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='AdamW', fused=True, lr=1e-3, betas=(0.9, 0.999), weight_decay=0.04),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))

auto_scale_lr = dict(base_batch_size=2048)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300)

# from 2e-4
param_scheduler = [
    dict(
        type='mmvitssl.LinearLR', start_factor=0.2, inclusive=False,
        by_epoch=True, begin=0, end=40,
        convert_to_iter_based=True),
    dict(
        type='mmvitssl.CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=40,
        convert_to_iter_based=True),
]

custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='WeightDecayHook', end=0.4),
    dict(type='ReduceLogsHook'),
]
