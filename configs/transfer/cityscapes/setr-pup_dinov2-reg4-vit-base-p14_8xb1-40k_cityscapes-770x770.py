# SETR-PUP on the published DINOv2 with four registers, ViT-B/14; no published result.
_base_ = './setr-pup_dinov2-vit-base-p14_8xb1-40k_cityscapes-770x770.py'

registers = ('register_1', 'register_2', 'register_3', 'register_4')
model = dict(
    backbone=dict(
        encoder=dict(
            prefix_tokens=registers, interpolate_offset=0.0, interpolate_antialias=True)))
