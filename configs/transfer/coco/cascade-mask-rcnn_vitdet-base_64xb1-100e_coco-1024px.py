# Cascade Mask R-CNN, ViT-B in ViTDet's form, COCO, 100 epochs: ViTDet's published recipe.
# Its heads stand three times, with class-agnostic boxes and L1.
_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py', '../_base_/vitdet_parts.py',
    '../_base_/vitdet_100e.py']

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

l1 = dict(type='L1Loss', loss_weight=1.0)
head = dict(
    type='Shared4Conv1FCBBoxHead', in_channels=256, norm_cfg=_base_.norm, num_classes=80,
    reg_class_agnostic=True,
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=l1)
# three stages, which refine the boxes
bbox_head = [dict(head, bbox_coder=stage.bbox_coder) for stage in _base_.model.roi_head.bbox_head]

model = dict(
    data_preprocessor=dict(pad_size_divisor=1024),
    backbone=dict(_delete_=True, **_base_.backbone),
    neck=dict(_delete_=True, type='mmvitssl.SimpleFeaturePyramid'),
    rpn_head=dict(num_convs=2, loss_bbox=dict(_delete_=True, **l1)),
    roi_head=dict(bbox_head=bbox_head, mask_head=dict(norm_cfg=_base_.norm)))
