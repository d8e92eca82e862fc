# UperNet on BEiT, ViT-L, pretrained and fine-tuned on ImageNet-22k, 512 pixels.
_base_ = './upernet_vit-large_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(
    position='none', relative_position='block_bias', qkv_bias='qv', layer_scale=1e-5,
    drop_path=0.2)))
optim_wrapper = dict(optimizer=dict(lr=2e-5))
