"""Mask R-CNN on a plain ViT in CAE's form: four blocks, deconvolution pyramid, FPN, global attention."""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmvitssl.DenseFeatures',
        levels=(3, 5, 7, 11),
        encoder=dict(
            type='mmvitssl.ViT',
            arch=dict(base='base'),
            image_size=224,
            patch_size=16,
            gradient_checkpointing=True)),
    neck=[
        dict(type='mmvitssl.ScalePyramid', in_channels=768, norm_cfg=dict(type='SyncBN')),
        dict(type='FPN', in_channels=[768] * 4, out_channels=256, num_outs=5),
    ],
    roi_head=dict(
        bbox_head=dict(
            _delete_=True,
            type='ConvFCBBoxHead',
            num_shared_convs=4,
            num_shared_fcs=1,
            in_channels=256,
            conv_out_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            num_classes=80,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            bbox_coder=dict(
                type='DeltaXYWHBBoxCoder',
                target_means=[0., 0., 0., 0.],
                target_stds=[0.1, 0.1, 0.2, 0.2]),
            reg_class_agnostic=False,
            reg_decoded_bbox=True,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='GIoULoss', loss_weight=10.0))))
