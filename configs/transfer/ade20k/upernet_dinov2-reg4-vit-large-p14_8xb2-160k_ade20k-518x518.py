# UperNet on the published DINOv2 with four registers, ViT-L/14; no published result.
_base_ = './upernet_dinov2-vit-large-p14_8xb2-160k_ade20k-518x518.py'

registers = ('register_1', 'register_2', 'register_3', 'register_4')
model = dict(
    backbone=dict(
        encoder=dict(
            prefix_tokens=registers, interpolate_offset=0.0, interpolate_antialias=True)))
