# UperNet on I-JEPA, ViT-B, which has no class token; no published result.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(class_token=False, position='sincos_column_first')))
