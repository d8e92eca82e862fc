# UperNet on the published DINOv2, ViT-L/14, at the rates of ViT-L; no published result.
_base_ = './upernet_dinov2-vit-base-p14_8xb2-160k_ade20k-518x518.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='large'), drop_path=0.15)))
optim_wrapper = dict(optimizer=dict(lr=4e-5), paramwise_cfg=dict(decay_rate=0.95))
