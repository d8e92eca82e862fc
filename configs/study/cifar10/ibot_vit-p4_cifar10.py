# iBOT on CIFAR-10: two crops of 32 and four of 16 pixels, 1,024 prototypes, shared heads.
_base_ = ['../../_base_/models/ibot_vit.py', '../_base_/two_views.py']

model = dict(
    data_preprocessor=_base_.preprocessor,
    encoder=dict(
        arch=dict(_delete_=True, **_base_.arch), image_size=_base_.size, patch_size=_base_.patch,
        drop_path=0.0),
    target=dict(momentum=0.99),
    tasks=dict(
        distillation=dict(
            local_views=(2, 3, 4, 5),
            projector=dict(prototypes=1024, hidden_channels=512, bottleneck=128))))
large = dict(type='RandomResizedCrop', scale=(0.4, 1.0))
small = dict(type='RandomResizedCrop', of_image=0.5, scale=(0.1, 0.4))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage', backend='opencv'),
            dict(
                type='MultiView',
                views=[
                    dict(transforms=[large, *_base_.view1[1:]]),
                    dict(transforms=[large, *_base_.view2[1:]]),
                    dict(transforms=[small, *_base_.view1[1:]], num=4),
                ]),
            dict(type='PackViews'),
        ]))
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='FreezeHook', names='last_layer'),
    dict(type='ReduceLogsHook'),
]
