# BEiT, ViT-B, 800 epochs on ImageNet-1K; fine-tuned top-1 83.2.
_base_ = [
    '../_base_/models/beit_vit.py',
    '../_base_/datasets/imagenet_beit.py',
    '../_base_/schedules/beit_800e.py',
    '../_base_/default_runtime.py',
]

# the class token is not decayed; the mask token and the bias table are, as published
optim_wrapper = dict(paramwise_cfg=dict(no_decay=('cls_token', )))
