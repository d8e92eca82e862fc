# Linear probe of CAE, ViT-L; published 77.8 for 1600 epochs.
_base_ = './linear-cae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(encoder=dict(arch=dict(base='large'), layer_scale=1e-5))
