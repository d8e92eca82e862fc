"""MAE's linear schedule for a total batch of 16384: LARS without weight decay."""

# 0.1 x 16384 / 256; the trust ratio counts for the matrix and not for the bias
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='LARS', lr=6.4, momentum=0.9, weight_decay=0.0, always_adapt=True),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))

auto_scale_lr = dict(base_batch_size=16384)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=90, val_interval=10)

param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=10,
        convert_to_iter_based=True),
]

custom_hooks = [dict(type='ReduceLogsHook')]
