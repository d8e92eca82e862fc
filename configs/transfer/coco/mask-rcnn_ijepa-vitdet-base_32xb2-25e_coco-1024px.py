# Mask R-CNN on I-JEPA, ViT-B in ViTDet's form, which has no class token; no published result.
_base_ = './mask-rcnn_vitdet-base_32xb2-25e_coco-1024px.py'
model = dict(backbone=dict(encoder=dict(class_token=False, position='sincos_column_first')))
