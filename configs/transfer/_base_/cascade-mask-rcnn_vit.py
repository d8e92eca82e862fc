"""Cascade Mask R-CNN on a plain ViT in CAE's form; the box heads are those of Swin's cascade."""

_base_ = ['./cascade-mask-rcnn_swin.py', './vit_parts.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    neck=_base_.neck,
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000)))
