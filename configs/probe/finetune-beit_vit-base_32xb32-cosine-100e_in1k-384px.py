# Fine-tuning of BEiT, ViT-B, at 384 pixels, pretrained at 224; published by LoMaR 84.6.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k-384px.py'

model = dict(
    encoder=dict(position='none', relative_position='block_bias', qkv_bias='qv', layer_scale=0.1))
optim_wrapper = dict(optimizer=dict(lr=4e-3))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=20,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min_ratio=2.5e-4, by_epoch=True, begin=20,
        convert_to_iter_based=True),
]
