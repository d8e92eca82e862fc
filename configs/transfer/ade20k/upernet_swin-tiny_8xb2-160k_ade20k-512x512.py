# UperNet, Swin-T, ADE20K, 160k iterations: Swin's and MoBY's recipe; published mIoU 44.06 for MoBY.
# Four stages with a norm each; whole images in the test.
_base_ = [
    'mmseg::_base_/models/upernet_swin.py', 'mmseg::_base_/datasets/ade20k.py',
    'mmseg::_base_/default_runtime.py', 'mmseg::_base_/schedules/schedule_160k.py']

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True, type='mmvitssl.DenseFeatures', levels=4, level_norms=True,
        encoder=dict(
            type='mmvitssl.SwinTransformer', arch='tiny', image_size=224, window_size=7,
            drop_path=0.3)),
    decode_head=dict(in_channels=None, num_classes=150),
    auxiliary_head=dict(in_channels=None, num_classes=150))

train_dataloader = dict(batch_size=2)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(
        relative_position_bias_table=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, by_epoch=False),
]
auto_scale_lr = dict(base_batch_size=16)
