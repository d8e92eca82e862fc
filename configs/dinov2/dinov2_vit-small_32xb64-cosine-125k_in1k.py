# DINOv2, ViT-Small/16, with the short schedule of ViT-L; no published result (the official small
# models are distilled from ViT-g).
_base_ = './dinov2_vit-large_32xb64-cosine-125k_in1k.py'
model = dict(encoder=dict(arch=dict(_delete_=True, base='small'), drop_path=0.1))
