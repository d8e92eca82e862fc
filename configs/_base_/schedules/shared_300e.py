"""MoCo v3's AdamW schedule for methods without a momentum target; total batch 4096."""
_base_ = './adamw.py'
# 1.5e-4 x 4096 / 256
optim_wrapper = dict(optimizer=dict(lr=2.4e-3, weight_decay=0.1))
auto_scale_lr = dict(base_batch_size=4096)
param_scheduler = [dict(_base_.warmup, end=40), dict(_base_.cosine, begin=40)]
custom_hooks = [dict(type='CollapseHook'), dict(type='ReduceLogsHook')]
