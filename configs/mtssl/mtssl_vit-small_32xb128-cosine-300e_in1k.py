# Multi-task ViT, ViT-S: contrast, rotation, colorization and relative position in one forward.
# The paper gives no recipe; this is MoCo v3's.
_base_ = [
    '../_base_/models/mtssl_vit.py', '../_base_/datasets/imagenet_mocov3.py',
    '../_base_/schedules/mocov3_300e.py', '../_base_/default_runtime.py']
