# SETR-MLA, ViT-S with 12 heads (MoCo v3, RePre on it, CAE), Cityscapes, 40k iterations.
_base_ = './setr-mla_vit-base_8xb1-40k_cityscapes-768x768.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='small', num_heads=12))))
