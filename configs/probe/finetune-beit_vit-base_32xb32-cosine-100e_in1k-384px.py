# Fine-tuning of BEiT, ViT-B, at 384 pixels, pretrained at 224; published by LoMaR 84.6.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k-384px.py'
model = dict(
    encoder=dict(position='none', relative_position='block_bias', qkv_bias='qv', layer_scale=0.1))
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [dict(_base_.linear, end=20), dict(_base_.cosine, eta_min_ratio=2.5e-4, begin=20)]
