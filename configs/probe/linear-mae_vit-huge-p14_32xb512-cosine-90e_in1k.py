# Linear probe of MAE, ViT-H with patches of 14; published 76.6 for 1600 epochs in the paper.
_base_ = './linear-mae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(encoder=dict(arch=dict(base='huge'), patch_size=14))
