# Linear probe of MAE, ViT-B, its own protocol; published 68.0 (repository 67.8) for 1600 epochs.
_base_ = [
    './_base_/linear_vit.py',
    './_base_/imagenet_linear_mae.py',
    './_base_/lars_90e.py',
    '../_base_/default_runtime.py',
]

model = dict(encoder=dict(position='sincos_column_first'), head=dict(type='NormalisedLinearHead'))
