# MAE, ViT-B, 800 epochs; fine-tuned top-1 83.3 (as measured in LoMaR's table 1).
_base_ = [
    '../_base_/models/mae_vit.py', '../_base_/datasets/imagenet_mae.py',
    '../_base_/schedules/mae_800e.py', '../_base_/default_runtime.py']
