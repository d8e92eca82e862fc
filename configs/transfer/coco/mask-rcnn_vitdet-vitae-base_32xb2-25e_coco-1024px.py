# Mask R-CNN, ViT-B in the form of ViTAE's detector, which LoMaR used, for encoders with absolute
# positions (MAE 51.1 / 45.4): full-width pyramid, final norm, scaled queries, norms in the RPN and
# with an epsilon of 1e-5 after the backbone, and a position table of the detector's own size.
_base_ = './mask-rcnn_vitdet-base_32xb2-25e_coco-1024px.py'
custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine', 'mmvitssl.models.rpn_head'])
norm = dict(type='mmvitssl.LN2d', eps=1e-5)

model = dict(
    backbone=dict(final_norm=True, scaled_queries=True, encoder=dict(image_size=1024)),
    neck=dict(full_width=True, norm_eps=1e-5),
    rpn_head=dict(type='mmvitssl.NormedRPNHead', norm_cfg=norm),
    roi_head=dict(bbox_head=dict(norm_cfg=norm), mask_head=dict(norm_cfg=norm)))
param_scheduler = [dict(_base_.param_scheduler[0], start_factor=0.067), _base_.param_scheduler[1]]
