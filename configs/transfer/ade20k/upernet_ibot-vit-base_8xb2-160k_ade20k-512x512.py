# UperNet on iBOT, ViT-B; published mIoU 50.0.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(interpolate_offset=0.1)))
