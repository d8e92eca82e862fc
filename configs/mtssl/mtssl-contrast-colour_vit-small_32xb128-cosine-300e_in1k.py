# Multi-task ViT's ablation: contrast and colorization.
_base_ = './mtssl-contrast_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(colour=_base_.colour))
