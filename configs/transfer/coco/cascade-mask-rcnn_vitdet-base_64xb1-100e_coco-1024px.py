# Cascade Mask R-CNN, ViT-B in ViTDet's form, COCO, 100 epochs: ViTDet's published recipe.
_base_ = ['../_base_/cascade-mask-rcnn_vitdet.py', '../_base_/vitdet_100e.py']
