"""What every pretraining shares: log, checkpoints, seeds, back ends."""
default_scope = 'mmvitssl'

default_hooks = dict(
    runtime_info=dict(type='DeferredLogsHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    finite=dict(type='NonFiniteHook', in_a_row=3, share=0.01),
    checkpoint=dict(type='FiniteCheckpointHook', interval=1, max_keep_ckpts=3, save_last=True),
    sampler_seed=dict(type='DistSamplerSeedHook'))

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

visualizer = dict(
    type='Visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='GroupedTensorboardBackend')])

log_processor = dict(window_size=50)
log_level = 'INFO'
randomness = dict(seed=0)
