"""Pretraining on CamVid's training images: minutes on a CPU; all methods see as many images."""
_base_ = '../../_base_/short_run.py'

tiny = dict(arch=dict(base='tiny', depth=6), image_size=112)
crop, flip = dict(type='RandomResizedCrop', scale=(0.1, 1.0)), dict(type='RandomFlip', p=0.5)
jittered = [
    crop,
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    flip,
]
load, pack = dict(type='LoadImage'), dict(type='PackViews')
one_view = [load, dict(type='MultiView', views=[dict(transforms=[crop, flip])]), pack]
two_views = [load, dict(type='MultiView', views=[dict(transforms=jittered, num=2)]), pack]
train_dataloader = dict(
    batch_size=32,
    dataset=dict(type='ImageFolder', root='data/camvid/images/train', pipeline=one_view))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'balancer': dict(lr_mult=5.0)}))
train_cfg = dict(max_iters=200)
param_scheduler = [dict(_base_.warmup, end=20), dict(_base_.cosine, begin=20)]
custom_hooks = [dict(type='MomentumUpdateHook'), dict(type='ReduceLogsHook')]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=200))
log_processor = dict(window_size=20)
