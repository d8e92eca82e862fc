# SETR-PUP, ViT-L, Cityscapes, 80k iterations.
_base_ = './setr-pup_vit-large_8xb1-40k_cityscapes-768x768.py'
train_cfg = dict(max_iters=80000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
