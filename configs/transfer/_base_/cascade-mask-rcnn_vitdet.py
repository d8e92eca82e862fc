"""Cascade Mask R-CNN in ViTDet's form: its heads three times over, class-agnostic boxes, L1."""

_base_ = ['mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py', './vitdet_parts.py']

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

l1 = dict(type='L1Loss', loss_weight=1.0)
head = dict(
    type='Shared4Conv1FCBBoxHead',
    in_channels=256,
    norm_cfg=_base_.norm,
    num_classes=80,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=l1)
coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0., 0., 0., 0.])

model = dict(
    data_preprocessor=dict(pad_size_divisor=1024),
    backbone=dict(_delete_=True, **_base_.backbone),
    neck=dict(_delete_=True, type='mmvitssl.SimpleFeaturePyramid'),
    rpn_head=dict(num_convs=2, loss_bbox=dict(_delete_=True, **l1)),
    roi_head=dict(
        bbox_head=[
            dict(**head, bbox_coder=dict(**coder, target_stds=[0.1, 0.1, 0.2, 0.2])),
            dict(**head, bbox_coder=dict(**coder, target_stds=[0.05, 0.05, 0.1, 0.1])),
            dict(**head, bbox_coder=dict(**coder, target_stds=[0.033, 0.033, 0.067, 0.067])),
        ],
        mask_head=dict(norm_cfg=_base_.norm)))
