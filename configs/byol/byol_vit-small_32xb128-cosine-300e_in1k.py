# BYOL, ViT-S; linear top-1 71.4 as RePre reports it.
_base_ = [
    '../_base_/models/byol_vit.py',
    '../_base_/datasets/imagenet_mocov3.py',
    '../_base_/schedules/mocov3_300e.py',
    '../_base_/default_runtime.py',
]
