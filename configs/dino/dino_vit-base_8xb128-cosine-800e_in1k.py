# DINO, ViT-B, 800 epochs; linear top-1 78.2 as RePre reports it (published with 400).
_base_ = './dino_vit-small_8xb128-cosine-800e_in1k.py'

model = dict(
    encoder=dict(arch=dict(_delete_=True, base='base')))
