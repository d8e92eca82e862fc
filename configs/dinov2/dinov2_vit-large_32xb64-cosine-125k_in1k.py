# DINOv2, ViT-L/16, the short schedule (configs/train/vitl16_short.yaml of facebookresearch/dinov2);
# published kNN 81.6, linear 82.9, in about a day on 32 A100.
_base_ = [
    '../_base_/models/dinov2_vit.py',
    '../_base_/datasets/imagenet_dinov2.py',
    '../_base_/schedules/dinov2_125k.py',
    '../_base_/default_runtime.py',
]

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2500))
log_processor = dict(by_epoch=False)
