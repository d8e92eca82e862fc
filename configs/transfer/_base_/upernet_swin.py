"""UperNet on Swin-T: four stages with a norm each, whole images in the test."""

_base_ = 'mmseg::_base_/models/upernet_swin.py'

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='mmvitssl.DenseFeatures',
        levels=4,
        level_norms=True,
        encoder=dict(type='mmvitssl.SwinTransformer', arch='tiny', image_size=224, window_size=7)),
    decode_head=dict(in_channels=None, num_classes=150),
    auxiliary_head=dict(in_channels=None, num_classes=150))
