# UperNet on the published DINOv2 with four registers, ViT-L/14; no published result.
_base_ = ['./upernet_dinov2-vit-large-p14_8xb2-160k_ade20k-518x518.py', '../_base_/registers.py']
model = dict(backbone=dict(encoder=_base_.registers))
