# Multi-task ViT whose encoder is not told where the patches of pairs are: no cheating by positions.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(unknown_position=True), tasks=dict(place=dict(hide_position=True)))
