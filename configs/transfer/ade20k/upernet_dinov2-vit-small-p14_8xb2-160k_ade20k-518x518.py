# UperNet on the published DINOv2, ViT-S/14 (6 heads); no published result.
_base_ = './upernet_dinov2-vit-base-p14_8xb2-160k_ade20k-518x518.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='small'))))
