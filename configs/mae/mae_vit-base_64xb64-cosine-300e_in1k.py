# MAE, ViT-B, 300 epochs: a row of CAE's table 1.
_base_ = './mae_vit-base_64xb64-cosine-800e_in1k.py'
train_cfg = dict(max_epochs=300)
