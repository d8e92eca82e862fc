# LoMaR, ViT-B, 1600 epochs; fine-tuned top-1 84.1.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
train_cfg = dict(max_epochs=1600)
param_scheduler = [dict(_base_.warmup, end=40), dict(_base_.cosine, begin=40)]
