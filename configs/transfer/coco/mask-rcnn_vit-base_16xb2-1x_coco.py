# Mask R-CNN, ViT-B, COCO, 12 epochs: CAE's published recipe (multi-scale 480-800, layer decay .75)
# for a plain ViT; of CAE itself: mask-rcnn_cae-vit-base_16xb2-1x_coco.py.
_base_ = ['../_base_/mask-rcnn_vit.py', '../_base_/vit_1x.py']
model = dict(backbone=dict(encoder=_base_.coco_encoder))
