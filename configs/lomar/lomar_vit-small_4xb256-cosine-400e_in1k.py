# LoMaR, ViT-S.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small')))
