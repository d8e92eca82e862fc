# Multi-task ViT with part of a patch to reconstruct: a hidden square of half its side.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(paint=dict(_base_.paint, part=0.5)))
