"""DINO's AdamW schedule for a total batch of 1024; weight decay rises, each gradient is clipped."""
_base_ = './adamw.py'
# 5e-4 x 1024 / 256
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, weight_decay=0.04), clip_each=3.0, **_base_.undecayed_norms)
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(max_epochs=100)
warmup = dict(_base_.warmup, type='mmvitssl.LinearLR')
cosine = dict(_base_.cosine, type='mmvitssl.CosineAnnealingLR', eta_min=1e-6)
param_scheduler = [dict(warmup, end=10), dict(cosine, begin=10)]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.4),
    dict(type='FreezeHook', names=('projector.last_layer', ), epochs=1),
    dict(type='CollapseHook'), dict(type='ReduceLogsHook'),
]
