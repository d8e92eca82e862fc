# MAE, ViT-B, 400 epochs; fine-tuned top-1 83.1 (LoMaR's table 1).
_base_ = './mae_vit-base_64xb64-cosine-800e_in1k.py'
train_cfg = dict(max_epochs=400)
