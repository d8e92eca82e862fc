# UperNet on the published DINOv2 with four registers, ViT-S/14; no published result.
_base_ = ['./upernet_dinov2-vit-small-p14_8xb2-160k_ade20k-518x518.py', '../_base_/registers.py']
model = dict(backbone=dict(encoder=_base_.registers))
