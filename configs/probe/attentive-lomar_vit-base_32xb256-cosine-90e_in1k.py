# Attentive probe of LoMaR, ViT-B, with CAE's protocol.
_base_ = './attentive-mae_vit-base_32xb256-cosine-90e_in1k.py'
model = dict(encoder=dict(position='none', relative_position='irpe'))
