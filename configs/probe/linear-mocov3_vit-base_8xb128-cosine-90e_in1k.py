# Linear probe of MoCo v3, ViT-B, its own protocol; published 76.5, 76.7 for 300, 600 epochs.
_base_ = [
    './_base_/linear_vit.py', './_base_/imagenet_linear_bilinear.py', './_base_/sgd_90e.py',
    '../_base_/default_runtime.py']
model = dict(encoder=dict(position='sincos_row_first'))
train_dataloader = dict(batch_size=128)
