# Multi-task ViT's ablation: relative position and inpainting.
_base_ = './mtssl-place_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(paint=_base_.paint))
