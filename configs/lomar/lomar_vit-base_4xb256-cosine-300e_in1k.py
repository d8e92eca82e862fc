# LoMaR, ViT-B, 300 epochs; fine-tuned top-1 83.3. The warm-up is that of 400 epochs in the paper.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(_base_.per_step, type='LinearLR', start_factor=1e-4, begin=0, end=10),
    dict(_base_.per_step, type='CosineAnnealingLR', eta_min=0.0, begin=10),
]
