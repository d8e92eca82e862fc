"""MoBY's AdamW schedule for a total batch of 512; its learning rate is scaled by 512.

The cosine is timm's: it begins with the training, and the warm-up takes the place of its start.
"""

# 1e-3 x 512 / 512
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='AdamW', fused=True, lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))

auto_scale_lr = dict(base_batch_size=512)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300)

# the official schedule is one step late, and its cosine counts from the first step
param_scheduler = [
    dict(
        type='mmvitssl.LinearLR', start_factor=5e-4, inclusive=False, lag=1,
        by_epoch=True, begin=0, end=5,
        convert_to_iter_based=True),
    dict(
        type='mmvitssl.CosineAnnealingLR', eta_min=5e-6, whole=True, lag=1, by_epoch=True, begin=5,
        convert_to_iter_based=True),
]

custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='CollapseHook'), dict(type='ReduceLogsHook')
]
