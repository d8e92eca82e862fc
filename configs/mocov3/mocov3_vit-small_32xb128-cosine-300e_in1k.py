# MoCo v3, ViT-S with 12 heads; published linear top-1 72.5 (300 epochs).
_base_ = [
    '../_base_/models/mocov3_vit.py', '../_base_/datasets/imagenet_mocov3.py',
    '../_base_/schedules/mocov3_300e.py', '../_base_/default_runtime.py']
model = dict(encoder=dict(arch=dict(base='small', num_heads=12)))
