# CAE, ViT-S with the default regressor and decoder of 768 channels behind a projection.
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(
    encoder=dict(arch=dict(base='small', num_heads=12)),
    tasks=dict(context=dict(regressor=dict(width=768))))
