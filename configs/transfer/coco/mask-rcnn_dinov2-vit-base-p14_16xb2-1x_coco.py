# Mask R-CNN on the published DINOv2, ViT-B/14: maps of strides 3.5 to 28, positions resized to
# 48 x 78 and frozen; no published result.
_base_ = './mask-rcnn_vit-base_16xb2-1x_coco.py'
model = dict(
    data_preprocessor=dict(pad_size_divisor=28),
    backbone=dict(encoder=dict(patch_size=14, image_size=(672, 1092), layer_scale=1e-5)),
    rpn_head=dict(anchor_generator=dict(strides=[3.5, 7, 14, 28, 56])),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=[3.5, 7, 14, 28]),
        mask_roi_extractor=dict(featmap_strides=[3.5, 7, 14, 28])))
