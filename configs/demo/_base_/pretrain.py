"""RePre on the demo's close-ups: data, optimizer and schedule, without epochs, views and batch."""
_base_ = '../../_base_/default_runtime.py'

data_root = 'work_dirs/demo/data'
train_dataloader = dict(
    num_workers=1, persistent_workers=True, drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='ImageFolder', root=data_root + '/pretrain'))
test_dataloader = dict(
    batch_size=30, num_workers=1,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(type='ImageFolder', root=data_root + '/images/val'))
test_evaluator = dict(type='PretextMetric')
test_cfg = dict()

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.98), weight_decay=0.1),
    clip_grad=dict(max_norm=3.0))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=1,
        convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=1, convert_to_iter_based=True),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(max_keep_ckpts=2))
log_processor = dict(window_size=10)
