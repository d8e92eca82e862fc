# Mask R-CNN, ViT-S with 12 heads (MoCo v3, CAE), COCO, 12 epochs.
_base_ = './mask-rcnn_vit-base_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='small', num_heads=12), drop_path=0.1)))
