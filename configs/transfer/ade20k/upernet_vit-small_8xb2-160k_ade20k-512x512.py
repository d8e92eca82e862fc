# UperNet, ViT-S with 12 heads (MoCo v3, CAE), ADE20K, 160k iterations.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='small', num_heads=12))))
