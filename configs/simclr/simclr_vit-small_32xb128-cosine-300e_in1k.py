# SimCLR, ViT-S; linear top-1 69.0 as RePre reports it.
_base_ = [
    '../_base_/models/simclr_vit.py',
    '../_base_/datasets/imagenet_simclr.py',
    '../_base_/schedules/shared_300e.py',
    '../_base_/default_runtime.py',
]
