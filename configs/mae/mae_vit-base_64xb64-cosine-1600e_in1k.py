# MAE, ViT-B, 1600 epochs: the released weights; fine-tuned top-1 83.6, linear 67.8.
_base_ = './mae_vit-base_64xb64-cosine-800e_in1k.py'
train_cfg = dict(max_epochs=1600)
