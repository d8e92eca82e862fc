# Supervised ViT-B by MAE's recipe from scratch: LoMaR's row "no pretraining" (82.3).
_base_ = './_base_/supervised.py'
model = dict(
    encoder=dict(position='sincos_column_first', initialisation='xavier'),
    readout='mean', pooled_norm='fresh')
# 1e-4 x 4096 / 256
optim_wrapper = dict(
    optimizer=dict(lr=1.6e-3, betas=(0.9, 0.95), weight_decay=0.3),
    paramwise_cfg=dict(decay_rate=1.0))
auto_scale_lr = dict(base_batch_size=4096)
param_scheduler = [dict(_base_.warmup, end=20), dict(_base_.cosine, eta_min=0.0, begin=20)]
custom_hooks = [
    dict(type='ReduceLogsHook'),
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=1e-4),
]
