# CAE, ViT-L with a decoder of 768 channels: what the official script trains when it is run as it is, since
# a missing line continuation drops its options for the decoder.
_base_ = './cae_vit-base_32xb64-cosine-1600e_in1k.py'
model = dict(
    encoder=dict(arch=dict(base='large'), layer_scale=1e-5),
    tasks=dict(
        context=dict(regressor=dict(width=768, layer_scale=1e-5), decoder=dict(layer_scale=1e-5))))
