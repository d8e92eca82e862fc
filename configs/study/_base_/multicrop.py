"""Two crops of 32 and four of 16 pixels on CIFAR-10, for DINO and iBOT with 1,024 prototypes."""
_base_ = './two_views.py'

distillation = dict(
    local_views=(2, 3, 4, 5), projector=dict(prototypes=1024, hidden_channels=512, bottleneck=128))
large_crop = dict(type='RandomResizedCrop', scale=(0.4, 1.0))
small_crop = dict(type='RandomResizedCrop', of_image=0.5, scale=(0.1, 0.4))
views = [
    dict(transforms=[large_crop, *_base_.view1[1:]]),
    dict(transforms=[large_crop, *_base_.view2[1:]]),
    dict(transforms=[small_crop, *_base_.view1[1:]], num=4),
]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='FreezeHook', names='last_layer'),
    dict(type='ReduceLogsHook'),
]
