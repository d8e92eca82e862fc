"""Cascade Mask R-CNN on Swin-T: heads of four convolutions with SyncBN, GIoU on decoded boxes."""

_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

head = dict(
    type='Shared4Conv1FCBBoxHead',
    in_channels=256,
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    num_classes=80,
    reg_class_agnostic=False,
    reg_decoded_bbox=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='GIoULoss', loss_weight=10.0))
coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.])

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmvitssl.DenseFeatures',
        levels=4,
        level_norms=True,
        encoder=dict(type='mmvitssl.SwinTransformer', arch='tiny', drop_path=0.2)),
    neck=dict(in_channels=None),
    roi_head=dict(
        bbox_head=[
            dict(**head, bbox_coder=dict(**coder, target_stds=[0.1, 0.1, 0.2, 0.2])),
            dict(**head, bbox_coder=dict(**coder, target_stds=[0.05, 0.05, 0.1, 0.1])),
            dict(**head, bbox_coder=dict(**coder, target_stds=[0.033, 0.033, 0.067, 0.067])),
        ]))
