# Multi-task ViT, ViT-B.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(arch=dict(_delete_=True, base='base')))
