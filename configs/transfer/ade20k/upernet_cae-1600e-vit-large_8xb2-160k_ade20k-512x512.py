# UperNet on CAE, ViT-L, 1600 epochs; published mIoU 54.9.
_base_ = './upernet_vit-large_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(
    position='sincos_row_first', relative_position='block_bias', new_relative=True, qkv_bias='qv',
    layer_scale=1e-5)))
