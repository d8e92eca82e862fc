# Mask R-CNN on the published DINOv2 with four registers, ViT-L/14; no published result.
_base_ = './mask-rcnn_dinov2-vit-large-p14_16xb2-1x_coco.py'

registers = ('register_1', 'register_2', 'register_3', 'register_4')
model = dict(
    backbone=dict(
        encoder=dict(
            prefix_tokens=registers, interpolate_offset=0.0, interpolate_antialias=True)))
