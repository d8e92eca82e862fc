# MoBY, DeiT-S, 300 epochs; published linear top-1 72.8.
_base_ = [
    '../_base_/models/moby_vit.py',
    '../_base_/datasets/imagenet_moby.py',
    '../_base_/schedules/moby_300e.py',
    '../_base_/default_runtime.py',
]
