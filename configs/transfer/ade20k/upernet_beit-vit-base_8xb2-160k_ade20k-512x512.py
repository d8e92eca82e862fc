# UperNet on BEiT, ViT-B, pretrained only: the shared bias table is copied to every block; published
# mIoU 45.6.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(
    position='none', relative_position='block_bias', qkv_bias='qv', layer_scale=0.1)))
optim_wrapper = dict(optimizer=dict(lr=7e-4))
