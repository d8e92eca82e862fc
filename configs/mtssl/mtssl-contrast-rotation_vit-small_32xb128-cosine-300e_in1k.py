# Multi-task ViT's ablation: contrast and rotation.
_base_ = './mtssl-contrast_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(
    encoder=dict(prefix_tokens=('contrast', 'rotation')), tasks=dict(rotation=_base_.rotation))
