# Linear probe of SiT, ViT-B: its contrastive token, the class token, under MoCo v3's protocol. SiT
# itself averages this and a classifier of the rotation token (readout='token:rotation').
_base_ = './linear-mocov3_vit-base_8xb128-cosine-90e_in1k.py'
model = dict(encoder=dict(position='learned', prefix_tokens=('rotation', )))
