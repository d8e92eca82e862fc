"""Mask R-CNN on Swin-T: four stages, each with a norm of its own, into mmdet's FPN and heads."""
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'
custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

model = dict(
    backbone=dict(
        _delete_=True, type='mmvitssl.DenseFeatures', levels=4, level_norms=True,
        encoder=dict(type='mmvitssl.SwinTransformer', arch='tiny', drop_path=0.2)),
    neck=dict(in_channels=None))
