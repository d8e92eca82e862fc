# UperNet on DINOv2, ViT-B/16 as pretrained here; no published result.
_base_ = './upernet_ibot-vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(layer_scale=1e-5)))
