# Attentive probe of DINO, ViT-B, the teacher; published by CAE 77.8.
_base_ = './attentive-mae_vit-base_32xb256-cosine-90e_in1k.py'
model = dict(encoder=dict(position='learned', interpolate_offset=0.1))
