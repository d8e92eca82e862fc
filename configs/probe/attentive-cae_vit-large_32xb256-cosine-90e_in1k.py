# Attentive probe of CAE, ViT-L; published 81.2 for 1600 epochs.
_base_ = './attentive-cae_vit-base_32xb256-cosine-90e_in1k.py'
model = dict(encoder=dict(arch=dict(base='large'), layer_scale=1e-5))
