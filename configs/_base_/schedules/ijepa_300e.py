"""I-JEPA's AdamW schedule for a total batch of 2048; the rate is not scaled with the batch."""
_base_ = './adamw.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.04), **_base_.spared)
auto_scale_lr = dict(base_batch_size=2048)
# from 2e-4
warmup = dict(_base_.warmup, type='mmvitssl.LinearLR', start_factor=0.2, inclusive=False)
cosine = dict(_base_.cosine, type='mmvitssl.CosineAnnealingLR', eta_min=1e-6)
param_scheduler = [dict(warmup, end=40), dict(cosine, begin=40)]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.4),
    dict(type='ReduceLogsHook'),
]
