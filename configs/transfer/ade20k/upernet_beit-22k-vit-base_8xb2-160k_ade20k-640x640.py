# UperNet on BEiT, ViT-B, pretrained and fine-tuned on ImageNet-22k, 640 pixels; published mIoU
# 53.61.
_base_ = [
    '../_base_/upernet_vit.py',
    'mmseg::_base_/datasets/ade20k_640x640.py',
    'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_160k.py',
]

model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        encoder=dict(
            image_size=640, position='none', relative_position='block_bias', qkv_bias='qv',
            layer_scale=0.1, drop_path=0.1)),
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)))

train_dataloader = dict(batch_size=2)
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    constructor='mmvitssl.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=3e-5, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.9))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=1500, by_epoch=False),
]
auto_scale_lr = dict(base_batch_size=16)
