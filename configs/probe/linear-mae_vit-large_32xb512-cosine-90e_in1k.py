# Linear probe of MAE, ViT-L; published 75.8 for 1600 epochs in the paper.
_base_ = './linear-mae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(encoder=dict(arch=dict(base='large')))
