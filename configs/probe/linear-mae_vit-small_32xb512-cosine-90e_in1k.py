# Linear probe of MAE, ViT-S, with ViT-B's protocol; nothing published.
_base_ = './linear-mae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small')))
