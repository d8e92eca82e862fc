# MAE, ViT-L, 800 epochs; fine-tuned top-1 85.4 (repository 85.5).
_base_ = './mae_vit-base_64xb64-cosine-800e_in1k.py'
model = dict(encoder=dict(arch=dict(base='large')))
