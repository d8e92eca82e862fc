# MAE, ViT-S, with the decoder of ViT-B.
_base_ = './mae_vit-base_64xb64-cosine-800e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small')))
