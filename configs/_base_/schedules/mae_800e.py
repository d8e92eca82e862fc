"""MAE's AdamW schedule for a total batch of 4096; norms and biases are not decayed, tokens are."""

# 1.5e-4 x 4096 / 256
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='AdamW', fused=True, lr=2.4e-3, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))

auto_scale_lr = dict(base_batch_size=4096)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=800)

param_scheduler = [
    dict(
        type='mmvitssl.LinearLR', start_factor=1e-4, inclusive=False,
        by_epoch=True, begin=0, end=40,
        convert_to_iter_based=True),
    dict(
        type='mmvitssl.CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=40,
        convert_to_iter_based=True),
]

custom_hooks = [dict(type='ReduceLogsHook')]
