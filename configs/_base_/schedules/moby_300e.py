"""MoBY's AdamW schedule for a total batch of 512; its learning rate is scaled by 512.

The cosine is timm's: it begins with the training, and the warm-up takes the place of its start.
"""
_base_ = './adamw.py'

# 1e-3 x 512 / 512
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=5.0), **_base_.spared)
auto_scale_lr = dict(base_batch_size=512)
# the official schedule is one step late, and its cosine counts from the first step
late = dict(_base_.per_step, lag=1)
param_scheduler = [
    dict(late, type='mmvitssl.LinearLR', start_factor=5e-4, inclusive=False, begin=0, end=5),
    dict(late, type='mmvitssl.CosineAnnealingLR', eta_min=5e-6, whole=True, begin=5),
]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='CollapseHook'), dict(type='ReduceLogsHook')
]
