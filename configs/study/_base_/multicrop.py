"""Two crops of 32 and four of 16 pixels on CIFAR-10, for DINO and iBOT with 1,024 prototypes."""
_base_ = './two_views.py'

distillation = dict(
    local_views=(2, 3, 4, 5), projector=dict(prototypes=1024, hidden_channels=512, bottleneck=128))
large = dict(type='RandomResizedCrop', scale=(0.4, 1.0))
small = dict(type='RandomResizedCrop', of_image=0.5, scale=(0.1, 0.4))
views = [
    dict(transforms=[large, *_base_.view1[1:]]),
    dict(transforms=[large, *_base_.view2[1:]]),
    dict(transforms=[small, *_base_.view1[1:]], num=4),
]
pipeline = [
    dict(type='LoadImage', backend='opencv'),
    dict(type='MultiView', views=views),
    dict(type='PackViews'),
]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='FreezeHook', names='last_layer'),
    dict(type='ReduceLogsHook'),
]
