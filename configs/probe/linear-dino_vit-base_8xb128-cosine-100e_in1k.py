# Linear probe of DINO, ViT-B: class token and mean of the patches of the teacher; published 78.2.
_base_ = './linear-dino_vit-small_8xb128-cosine-100e_in1k.py'
model = dict(encoder=dict(arch=dict(base='base')), readout='cls+mean')
