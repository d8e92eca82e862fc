"""Cascade Mask R-CNN on Swin-T: heads of four convolutions with SyncBN, GIoU on decoded boxes."""
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

head = dict(
    type='Shared4Conv1FCBBoxHead', in_channels=256,
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    num_classes=80, reg_class_agnostic=False, reg_decoded_bbox=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='GIoULoss', loss_weight=10.0))
# three stages, which refine the boxes
bbox_head = [dict(head, bbox_coder=stage.bbox_coder) for stage in _base_.model.roi_head.bbox_head]

model = dict(
    backbone=dict(
        _delete_=True, type='mmvitssl.DenseFeatures', levels=4, level_norms=True,
        encoder=dict(type='mmvitssl.SwinTransformer', arch='tiny', drop_path=0.2)),
    neck=dict(in_channels=None),
    roi_head=dict(bbox_head=bbox_head))
