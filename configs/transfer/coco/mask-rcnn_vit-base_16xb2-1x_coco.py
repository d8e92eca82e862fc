# Mask R-CNN, ViT-B, COCO, 12 epochs: CAE's published recipe (multi-scale 480-800, layer decay .75)
# for a plain ViT; of CAE itself: mask-rcnn_cae-vit-base_16xb2-1x_coco.py.
_base_ = ['../_base_/mask-rcnn_vit.py', '../_base_/vit_1x.py']

# positions are those of the checkpoint, resized to 42 x 68 and frozen
model = dict(
    backbone=dict(
        encoder=dict(
            image_size=(672, 1088),
            position='sincos_row_first',
            interpolate_offset=0.1,
            drop_path=0.2)))
