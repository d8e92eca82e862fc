# Attentive probe of MAE, ViT-L; published by CAE 78.8 for 1600 epochs.
_base_ = './attentive-mae_vit-base_32xb256-cosine-90e_in1k.py'
model = dict(encoder=dict(arch=dict(base='large')))
