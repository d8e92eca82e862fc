"""Mask R-CNN on a plain ViT in ViTDet's form: windowed attention and a pyramid from the last map.

The position table keeps the size of the pretraining and is resized in every forward.
"""
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', './vitdet_parts.py']
custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

model = dict(
    data_preprocessor=dict(pad_size_divisor=1024),
    backbone=dict(_delete_=True, **_base_.backbone),
    neck=dict(_delete_=True, type='mmvitssl.SimpleFeaturePyramid'),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=_base_.norm),
        mask_head=dict(norm_cfg=_base_.norm)))
