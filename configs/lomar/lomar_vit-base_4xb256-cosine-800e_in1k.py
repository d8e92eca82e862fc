# LoMaR, ViT-B, 800 epochs; fine-tuned top-1 83.8 (85.2 at 384 pixels).
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
train_cfg = dict(max_epochs=800)
