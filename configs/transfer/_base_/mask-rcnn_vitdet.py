"""Mask R-CNN on a plain ViT in ViTDet's form: windowed attention and a pyramid from the last map.

The position table keeps the size of the pretraining and is resized in every forward.
"""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

norm = dict(type='mmvitssl.LN2d', eps=1e-6)

model = dict(
    data_preprocessor=dict(pad_size_divisor=1024),
    backbone=dict(
        _delete_=True,
        type='mmvitssl.WindowedFeatures',
        levels=1,
        global_blocks=4,
        window_size=14,
        relative_grid=(64, 64),
        encoder=dict(
            type='mmvitssl.ViT',
            arch=dict(base='base'),
            image_size=224,
            patch_size=16,
            drop_path=0.1)),
    neck=dict(_delete_=True, type='mmvitssl.SimpleFeaturePyramid'),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(type='Shared4Conv1FCBBoxHead', norm_cfg=norm),
        mask_head=dict(norm_cfg=norm)))
