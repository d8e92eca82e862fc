# Mask R-CNN on the published DINOv2 with four registers, ViT-L/14; no published result.
_base_ = ['./mask-rcnn_dinov2-vit-large-p14_16xb2-1x_coco.py', '../_base_/registers.py']
model = dict(backbone=dict(encoder=_base_.registers))
