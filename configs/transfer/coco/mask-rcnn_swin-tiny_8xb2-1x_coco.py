# Mask R-CNN, Swin-T, COCO, 12 epochs: the recipe of Swin and MoBY, multi-scale 480-800.
_base_ = ['../_base_/mask-rcnn_swin.py', '../_base_/swin_1x.py']
