# CAE, ViT-S with 12 heads; regressor and decoder of its width.
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small', num_heads=12)))
