# Mask R-CNN on CAE, ViT-L, COCO, 12 epochs; published 54.5 / 47.5 for 1600 epochs.
_base_ = './mask-rcnn_vit-large_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(qkv_bias='qv', layer_scale=1e-5)))
