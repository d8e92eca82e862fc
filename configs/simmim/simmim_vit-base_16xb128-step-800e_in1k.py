# SimMIM, ViT-B, 800 epochs; published fine-tuned top-1 83.8.
_base_ = [
    '../_base_/models/simmim_vit.py', '../_base_/datasets/imagenet_mae.py',
    '../_base_/schedules/adamw.py', '../_base_/default_runtime.py']

crop = dict(
    type='RandomResizedCrop', scale=(0.67, 1.0), ratio=(3 / 4, 4 / 3), interpolation='bilinear')
view = [crop, dict(type='RandomFlip', p=0.5)]
load = dict(type='LoadImage')  # by Pillow
pipeline = [load, dict(type='MultiView', views=[dict(transforms=view)]), _base_.pack]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))

# 1e-4 x 2048 / 512
optim_wrapper = dict(
    optimizer=dict(lr=4e-4, weight_decay=0.05), clip_grad=dict(max_norm=5.0),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0, no_decay=('cls_token', )))
auto_scale_lr = dict(base_batch_size=2048)
train_cfg = dict(max_epochs=800)
param_scheduler = [
    dict(_base_.warmup, start_factor=5e-3, end=10),
    dict(_base_.per_step, type='MultiStepLR', milestones=[700], end=800, gamma=0.1),
]
