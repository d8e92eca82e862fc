# Attentive probe of MoCo v3, ViT-B; published by CAE 77.0.
_base_ = './attentive-mae_vit-base_32xb256-cosine-90e_in1k.py'
model = dict(encoder=dict(position='sincos_row_first'))
