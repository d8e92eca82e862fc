# MoCo v2, ViT-S, as DINO's authors ran it; linear top-1 71.6 as RePre reports it.
_base_ = [
    '../_base_/models/mocov2_vit.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/dino_100e.py',
    '../_base_/default_runtime.py',
]

# DINO's rate; weight decay stays at 0.05, and nothing is clipped
optim_wrapper = dict(optimizer=dict(weight_decay=0.05), clip_each=None)
train_cfg = dict(max_epochs=300)
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='CollapseHook'), dict(type='ReduceLogsHook')
]
