# Multi-task ViT with all six tasks: jigsaw and inpainting too.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(jigsaw=_base_.jigsaw, paint=_base_.paint))
