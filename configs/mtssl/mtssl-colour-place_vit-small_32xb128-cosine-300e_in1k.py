# Multi-task ViT's ablation: colorization and relative position.
_base_ = './mtssl-colour_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(place=_base_.place))
