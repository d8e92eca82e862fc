# I-JEPA, ViT-B/16, 600 epochs; published linear 72.9 (paper, table 1).
_base_ = [
    '../_base_/models/ijepa_vit.py', '../_base_/datasets/imagenet.py',
    '../_base_/schedules/adamw.py', '../_base_/default_runtime.py']

view = [dict(type='RandomResizedCrop', scale=(0.3, 1.0), interpolation='bilinear')]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=view)]), _base_.pack]

# 16 processes x 128 = 2048; the rate is not scaled with the batch
train_dataloader = dict(dataset=dict(pipeline=pipeline))
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.04), **_base_.undecayed_norms)
auto_scale_lr = dict(base_batch_size=2048)
# from 2e-4
warmup = dict(_base_.warmup, type='mmvitssl.LinearLR', start_factor=0.2, inclusive=False)
cosine = dict(_base_.cosine, type='mmvitssl.CosineAnnealingLR', eta_min=1e-6)
param_scheduler = [dict(warmup, end=40), dict(cosine, begin=40)]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.4),
    dict(type='ReduceLogsHook'),
]
train_cfg = dict(max_epochs=600)
