# Mask R-CNN, ViT-B in the form of ViTAE's detector, which LoMaR used, for encoders with absolute
# positions (MAE 51.1 / 45.4): full-width pyramid, final norm, scaled queries. RPN has no norm here.
_base_ = './mask-rcnn_vitdet-base_32xb2-25e_coco-1024px.py'

model = dict(
    backbone=dict(final_norm=True, scaled_queries=True), neck=dict(full_width=True))
param_scheduler = [dict(_base_.param_scheduler[0], start_factor=0.067), _base_.param_scheduler[1]]
