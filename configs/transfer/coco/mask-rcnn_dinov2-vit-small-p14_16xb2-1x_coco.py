# Mask R-CNN on the published DINOv2, ViT-S/14 (6 heads); no published result.
_base_ = './mask-rcnn_dinov2-vit-base-p14_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='small'), drop_path=0.1)))
