# SETR-PUP, ViT-L, Cityscapes, 80k iterations.
_base_ = './setr-pup_vit-large_8xb1-40k_cityscapes-768x768.py'

train_cfg = dict(max_iters=80000, val_interval=8000)
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, end=80000, by_epoch=False),
]
default_hooks = dict(checkpoint=dict(interval=8000))
