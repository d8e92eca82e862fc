# Linear probe of CAE, ViT-B, MAE's protocol; published 64.5, 68.9, 70.3 for 300, 800, 1600 epochs.
_base_ = './linear-mae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(encoder=dict(position='sincos_row_first', qkv_bias='qv', layer_scale=0.1))
