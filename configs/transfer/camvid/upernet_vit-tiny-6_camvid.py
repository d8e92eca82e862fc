# UperNet, ViT-Ti with 6 blocks, CamVid: minutes on a CPU core.
_base_ = ['../_base_/upernet_vit.py', '../_base_/camvid.py', 'mmseg::_base_/default_runtime.py']
channels = 64
norm = dict(type='BN')

model = dict(
    data_preprocessor=dict(size=_base_.crop),
    backbone=dict(
        levels=(1 / 3, 1 / 2, 2 / 3, 1.0),
        encoder=dict(arch=dict(base='tiny', depth=6), image_size=_base_.crop)),
    neck=dict(norm_cfg=norm),
    decode_head=dict(channels=channels, num_classes=11, norm_cfg=norm),
    auxiliary_head=dict(channels=32, num_classes=11, norm_cfg=norm),
    test_cfg=dict(_delete_=True, mode='whole'))
auto_scale_lr = dict(base_batch_size=4)
