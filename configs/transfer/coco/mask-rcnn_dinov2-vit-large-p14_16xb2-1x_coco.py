# Mask R-CNN on the published DINOv2, ViT-L/14; no published result.
_base_ = './mask-rcnn_dinov2-vit-base-p14_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='large'))))

optim_wrapper = dict(optimizer=dict(lr=2e-4), paramwise_cfg=dict(decay_rate=0.8))
