# Mask R-CNN on DINOv2, ViT-B/16 as pretrained here; no published result.
_base_ = './mask-rcnn_vit-base_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(layer_scale=1e-5, interpolate_offset=0.1)))
