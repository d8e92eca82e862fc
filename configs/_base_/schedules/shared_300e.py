"""MoCo v3's AdamW schedule for methods without a momentum target; total batch 4096."""
_base_ = './adamw.py'
# 1.5e-4 x 4096 / 256
optim_wrapper = dict(optimizer=dict(lr=2.4e-3, weight_decay=0.1))
auto_scale_lr = dict(base_batch_size=4096)
# the last step of the warm-up is not at the full rate, as in MoCo v3's code
warmup = dict(_base_.warmup, type='mmvitssl.LinearLR', inclusive=False)
cosine = dict(_base_.cosine, type='mmvitssl.CosineAnnealingLR')
param_scheduler = [dict(warmup, end=40), dict(cosine, begin=40)]
custom_hooks = [dict(type='CollapseHook'), dict(type='ReduceLogsHook')]
