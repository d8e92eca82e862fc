# Linear probe of BEiT, ViT-B, with MAE's protocol, to compare the masked methods.
_base_ = './linear-mae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(
    encoder=dict(position='none', relative_position='shared_bias', qkv_bias='qv', layer_scale=0.1))
