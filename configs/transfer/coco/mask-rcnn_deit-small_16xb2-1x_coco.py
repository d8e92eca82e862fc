# Mask R-CNN, ViT-S with 6 heads (DINO's teacher, MoBY, MAE, DeiT), COCO, 12 epochs.
_base_ = './mask-rcnn_vit-small_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(arch=dict(num_heads=6))))
