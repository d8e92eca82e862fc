# UperNet on CAE, ViT-B, 300 epochs: fixed positions and fresh bias tables; published mIoU 48.1.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(
    position='sincos_row_first', relative_position='block_bias', new_relative=True, qkv_bias='qv',
    layer_scale=0.1)))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
