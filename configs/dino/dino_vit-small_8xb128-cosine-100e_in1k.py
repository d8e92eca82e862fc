# DINO, ViT-S, 100 epochs with the default options; published kNN 69.3, linear 74.0.
_base_ = [
    '../_base_/models/dino_vit.py', '../_base_/datasets/imagenet_dino.py',
    '../_base_/schedules/dino_100e.py', '../_base_/default_runtime.py']
