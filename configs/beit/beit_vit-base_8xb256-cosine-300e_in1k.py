# BEiT, ViT-B, 300 epochs; fine-tuned top-1 82.8 (as measured in LoMaR's table 3).
_base_ = './beit_vit-base_8xb256-cosine-800e_in1k.py'
train_cfg = dict(max_epochs=300)
