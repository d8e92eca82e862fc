# Mask R-CNN on CAE, ViT-B, COCO, 12 epochs; published 48.3 / 42.7, 49.9 / 43.9, 50.3 / 44.2 for
# 300, 800, 1600 epochs.
_base_ = './mask-rcnn_vit-base_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(qkv_bias='qv', layer_scale=0.1)))
