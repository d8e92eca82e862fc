# Cascade Mask R-CNN on CAE, ViT-B, COCO, 12 epochs (table 6).
_base_ = './cascade-mask-rcnn_vit-base_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(qkv_bias='qv', layer_scale=0.1)))
