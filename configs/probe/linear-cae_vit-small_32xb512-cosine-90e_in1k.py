# Linear probe of CAE, ViT-S with 12 heads.
_base_ = './linear-cae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small', num_heads=12)))
