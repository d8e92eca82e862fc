# Cascade Mask R-CNN, ViT-B, COCO, 12 epochs: CAE's recipe (its table 6) for a plain ViT;
# the box heads are those of Swin's cascade.
_base_ = ['../_base_/cascade-mask-rcnn_swin.py', '../_base_/vit_parts.py', '../_base_/vit_1x.py']
model = dict(
    backbone=dict(_delete_=True, **_base_.detector),
    neck=_base_.neck,
    train_cfg=dict(rpn_proposal=dict(max_per_img=2000)))
