# Mask R-CNN, ViT-B in the form of ViTAE's detector, which LoMaR used, for encoders with absolute
# positions (MAE 51.1 / 45.4): full-width pyramid, final norm, scaled queries. RPN has no norm here.
_base_ = './mask-rcnn_vitdet-base_32xb2-25e_coco-1024px.py'

model = dict(
    backbone=dict(final_norm=True, scaled_queries=True), neck=dict(full_width=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.067, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', begin=0, end=25, by_epoch=True, milestones=[22, 24], gamma=0.1),
]
