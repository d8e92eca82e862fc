# SimCLR, ViT-S, as MoCo v3's authors ran it; linear top-1 69.0.
_base_ = [
    '../_base_/models/simclr_vit.py', '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/shared_300e.py', '../_base_/default_runtime.py']
# 2e-4 x 4096 / 256
optim_wrapper = dict(optimizer=dict(lr=3.2e-3))
