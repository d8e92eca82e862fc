# Cascade Mask R-CNN, ViT-B, COCO, 12 epochs: CAE's recipe (its table 6) for a plain ViT.
_base_ = ['../_base_/cascade-mask-rcnn_vit.py', '../_base_/vit_1x.py']

# positions are those of the checkpoint, resized to 42 x 68 and frozen
model = dict(
    backbone=dict(
        encoder=dict(
            image_size=(672, 1088),
            position='sincos_row_first',
            interpolate_offset=0.1,
            drop_path=0.2)))
