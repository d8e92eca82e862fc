# UperNet on MAE, ViT-L, as CAE's authors trained it, with frozen positions: published mIoU 53.6.
_base_ = './upernet_vit-large_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(
    position='sincos_column_first', relative_position='block_bias', new_relative=True,
    layer_scale=1.0, drop_path=0.2)))
optim_wrapper = dict(optimizer=dict(lr=4e-4), paramwise_cfg=dict(decay_rate=0.65))
