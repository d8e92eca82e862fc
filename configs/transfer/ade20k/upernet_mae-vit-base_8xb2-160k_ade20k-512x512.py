# UperNet on MAE, ViT-B: positions are trained; bias tables and residual scales start without
# effect. Published mIoU 48.13.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(
    backbone=dict(encoder=dict(relative_position='block_bias', new_relative=True, layer_scale=1.0)))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
