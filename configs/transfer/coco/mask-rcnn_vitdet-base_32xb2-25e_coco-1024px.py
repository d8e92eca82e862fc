# Mask R-CNN, ViT-B in ViTDet's form, by LoMaR's schedule: COCO four times over in each of 25
# epochs. LoMaR's own detector is another: mask-rcnn_vitdet-lomar-base_32xb2-25e_coco-1024px.py.
_base_ = ['../_base_/mask-rcnn_vitdet.py', '../_base_/vitdet_25e.py']
