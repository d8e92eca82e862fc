# LoMaR, ViT-B, 400 epochs; fine-tuned top-1 83.6.
_base_ = [
    '../_base_/models/lomar_vit.py', '../_base_/datasets/imagenet_mae.py',
    '../_base_/schedules/mae_800e.py', '../_base_/default_runtime.py']
# 4 x 256 x 4 accumulated = 4096
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(accumulative_counts=4)

train_cfg = dict(max_epochs=400)
# the official README warms up for 20 epochs, the paper for 10
param_scheduler = [dict(_base_.warmup, end=20), dict(_base_.cosine, begin=20)]
