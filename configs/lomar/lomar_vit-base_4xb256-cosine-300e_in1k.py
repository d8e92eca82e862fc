# LoMaR, ViT-B, 300 epochs; fine-tuned top-1 83.3. The warm-up is that of 400 epochs in the paper.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
train_cfg = dict(max_epochs=300)
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
