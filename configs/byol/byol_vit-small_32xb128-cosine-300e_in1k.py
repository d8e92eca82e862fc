# BYOL, ViT-S, as MoCo v3's authors ran it; linear top-1 71.4 in RePre's table, 71.0 in their paper.
_base_ = [
    '../_base_/models/byol_vit.py',
    '../_base_/datasets/imagenet_mocov3.py',
    '../_base_/schedules/mocov3_300e.py',
    '../_base_/default_runtime.py',
]

# 1e-4 x 4096 / 256; rate and weight decay are unconfirmed (docs/methods/byol.md)
optim_wrapper = dict(optimizer=dict(lr=1.6e-3, weight_decay=0.03))
