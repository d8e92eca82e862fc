# UperNet, ViT-L, ADE20K, 160k iterations, at the rates that CAE found for its own ViT-L.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='large'), drop_path=0.15)))
optim_wrapper = dict(optimizer=dict(lr=4e-5), paramwise_cfg=dict(decay_rate=0.95))
