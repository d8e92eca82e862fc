# CAE, ViT-L, 1600 epochs; linear 77.8, attentive 81.2, fine-tuned 86.2.
_base_ = './cae_vit-base_32xb64-cosine-1600e_in1k.py'
model = dict(
    encoder=dict(arch=dict(base='large'), layer_scale=1e-5),
    tasks=dict(context=dict(regressor=dict(layer_scale=1e-5), decoder=dict(layer_scale=1e-5))))
