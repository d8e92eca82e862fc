# Mask R-CNN on LoMaR, ViT-B, in the form of ViTAE's detector; published 51.4 / 45.7 (1600 epochs at
# 224 pixels) and 51.6 / 45.9 (at 384 pixels).
_base_ = './mask-rcnn_vitdet-vitae-base_32xb2-25e_coco-1024px.py'
model = dict(backbone=dict(encoder=dict(position='none', relative_position='irpe')))
