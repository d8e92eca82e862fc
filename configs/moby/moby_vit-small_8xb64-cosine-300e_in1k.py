# MoBY (Xie et al., 2021), DeiT-S, 300 epochs; published linear top-1 72.8. Two queues, drop path on
# the online branch only, MoCo v3's augmentations with the flip first.
_base_ = [
    '../_base_/models/vit.py', '../_base_/datasets/imagenet_mocov3.py',
    '../_base_/schedules/adamw.py', '../_base_/default_runtime.py']

model = dict(
    encoder=dict(arch=dict(base='small'), position='learned', initialisation='deit', drop_path=0.2),
    target=dict(momentum=0.99, end=1.0, schedule='cosine', when='before_forward', drop_path=0.0),
    tasks=dict(contrastive=dict(
        type='Contrastive', views=(0, 1),
        projector=dict(
            type='ProjectionMLP', hidden_channels=4096, out_channels=256, num_layers=2, bias=True,
            last_norm=False),
        predictor=dict(
            type='ProjectionMLP', hidden_channels=4096, num_layers=2, bias=True, last_norm=False),
        head=dict(type='QueueInfoNCE', size=4096, temperature=0.2, queues=2))))

view1 = [_base_.crop, _base_.flip, *_base_.view1[1:-1]]
view2 = [_base_.crop, _base_.flip, *_base_.view2[1:-1]]
views = [dict(transforms=view1), dict(transforms=view2)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 8 processes x 64 = 512
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=pipeline))

# 1e-3 x 512 / 512: scaled by 512
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=5.0),
    **_base_.undecayed_norms)
auto_scale_lr = dict(base_batch_size=512)
# the official schedule is one step late; its cosine, timm's, begins with the training, and the
# warm-up takes the place of its start
late = dict(_base_.per_step, lag=1)
param_scheduler = [
    dict(late, type='mmvitssl.LinearLR', start_factor=5e-4, inclusive=False, begin=0, end=5),
    dict(late, type='mmvitssl.CosineAnnealingLR', eta_min=5e-6, whole=True, begin=5),
]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='CollapseHook'), dict(type='ReduceLogsHook')]
