# UperNet, ViT-B, ADE20K, 160k iterations: the recipe that BEiT, MAE and CAE share, at CAE's middle
# learning rate, for encoders with absolute positions alone (MoCo v3, DINO, RePre).
_base_ = [
    '../_base_/upernet_vit.py',
    'mmseg::_base_/datasets/ade20k.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_160k.py',
]

model = dict(backbone=dict(encoder=dict(drop_path=0.1)))

train_dataloader = dict(batch_size=2)
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    constructor='mmvitssl.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.65))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, by_epoch=False),
]
auto_scale_lr = dict(base_batch_size=16)
