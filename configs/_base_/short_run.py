"""A pretraining of some thousand iterations on a CPU: loader, AdamW, warm-up and cosine."""
_base_ = './default_runtime.py'

train_dataloader = dict(
    num_workers=0, drop_last=True, sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'))
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0,
        custom_keys={'balancer': dict(lr_mult=10.0, decay_mult=0.0)}))
train_cfg = dict(type='IterBasedTrainLoop')
warmup = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0)
cosine = dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False)
custom_hooks = [dict(type='ReduceLogsHook')]
default_hooks = dict(checkpoint=dict(by_epoch=False))
log_processor = dict(by_epoch=False)
