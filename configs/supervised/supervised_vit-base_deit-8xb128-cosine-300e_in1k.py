# Supervised ViT-B by DeiT's recipe: the row "DeiT" of CAE's tables 2 and 3.
_base_ = './supervised_vit-small_8xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(arch=dict(base='base')))
