"""Mask R-CNN on a plain ViT in CAE's form: four blocks, deconvolution pyramid, FPN, global attention."""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmvitssl.DenseFeatures',
        levels=(1 / 3, 1 / 2, 2 / 3, 1.0),  # of the depth
        encoder=dict(
            type='mmvitssl.ViT',
            arch=dict(base='base'),
            image_size=224,
            patch_size=16,
            gradient_checkpointing=True)),
    neck=[
        dict(type='mmvitssl.ScalePyramid', norm_cfg=dict(type='SyncBN')),
        dict(type='FPN', out_channels=256, num_outs=5),
    ],
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead',
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            reg_decoded_bbox=True,
            loss_bbox=dict(type='GIoULoss', loss_weight=10.0))),
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000)))
