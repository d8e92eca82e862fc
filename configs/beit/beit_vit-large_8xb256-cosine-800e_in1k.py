# BEiT, ViT-L: smaller layer scale.
_base_ = './beit_vit-base_8xb256-cosine-800e_in1k.py'
model = dict(encoder=dict(arch=dict(base='large'), layer_scale=1e-5))
