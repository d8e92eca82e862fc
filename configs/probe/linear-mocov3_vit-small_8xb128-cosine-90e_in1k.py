# Linear probe of MoCo v3, ViT-S with 12 heads; published 72.5, 73.4 for 300, 600 epochs.
_base_ = './linear-mocov3_vit-base_8xb128-cosine-90e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small', num_heads=12)))
