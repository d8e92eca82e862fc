# Fine-tuning of BEiT, ViT-L; the length of the warm-up is MAE's.
_base_ = './finetune-mae_vit-large_32xb32-cosine-50e_in1k.py'
model = dict(
    encoder=dict(position='none', relative_position='block_bias', qkv_bias='qv', layer_scale=1e-5))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(_base_.linear, end=5), dict(_base_.cosine, eta_min_ratio=1e-3, begin=5)]
