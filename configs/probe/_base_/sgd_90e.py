"""MoCo v3's linear schedule for a total batch of 1024: SGD, a cosine in steps of an epoch."""
# 3 x 1024 / 256
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='SGD', lr=12.0, momentum=0.9, weight_decay=0.0),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=90, val_interval=10)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0)]
custom_hooks = [dict(type='ReduceLogsHook')]
