"""Mask R-CNN on a plain ViT in CAE's form: four blocks, deconvolution pyramid, FPN, global attention."""
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', './vit_parts.py']
custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    neck=_base_.neck,
    roi_head=dict(bbox_head=dict(
        type='Shared4Conv1FCBBoxHead',
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        reg_decoded_bbox=True,
        loss_bbox=dict(type='GIoULoss', loss_weight=10.0))),
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000)))
