# Mask R-CNN on CAE, ViT-S, COCO, 12 epochs.
_base_ = './mask-rcnn_vit-small_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(qkv_bias='qv', layer_scale=0.1)))
