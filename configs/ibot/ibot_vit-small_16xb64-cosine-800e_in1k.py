# iBOT, ViT-S, 800 epochs (README of bytedance/ibot); published kNN 75.2, linear 77.9.
_base_ = [
    '../_base_/models/ibot_vit.py', '../_base_/datasets/imagenet_dino_10crops.py',
    '../_base_/schedules/dino_100e.py', '../_base_/default_runtime.py']
# 16 processes x 64 = 1024
train_dataloader = dict(batch_size=64)
train_cfg = dict(max_epochs=800)
