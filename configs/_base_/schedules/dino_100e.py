"""DINO's AdamW schedule for a total batch of 1024; weight decay rises, each gradient is clipped."""

# 5e-4 x 1024 / 256
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='AdamW', fused=True, lr=2e-3, betas=(0.9, 0.999), weight_decay=0.04),
    clip_each=3.0,
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))

auto_scale_lr = dict(base_batch_size=1024)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100)

param_scheduler = [
    dict(
        type='mmvitssl.LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
        convert_to_iter_based=True),
    dict(
        type='mmvitssl.CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=10,
        convert_to_iter_based=True),
]

custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='WeightDecayHook', end=0.4),
    dict(type='FreezeHook', names=('projector.last_layer', ), epochs=1),
    dict(type='CollapseHook'),
    dict(type='ReduceLogsHook'),
]
