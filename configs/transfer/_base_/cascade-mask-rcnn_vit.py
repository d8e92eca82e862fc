"""Cascade Mask R-CNN on a plain ViT in CAE's form; the box heads are those of Swin's cascade."""

_base_ = './cascade-mask-rcnn_swin.py'

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
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000)))
