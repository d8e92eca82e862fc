# Mask R-CNN, ViT-B in ViTDet's form, COCO four times over in each of 25 epochs: LoMaR's recipe.
_base_ = ['../_base_/mask-rcnn_vitdet.py', '../_base_/vitdet_25e.py']
