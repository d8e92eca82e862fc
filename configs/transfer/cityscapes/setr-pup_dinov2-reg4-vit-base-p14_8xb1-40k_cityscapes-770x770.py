# SETR-PUP on the published DINOv2 with four registers, ViT-B/14; no published result.
_base_ = ['./setr-pup_dinov2-vit-base-p14_8xb1-40k_cityscapes-770x770.py', '../_base_/registers.py']
model = dict(backbone=dict(encoder=_base_.registers))
