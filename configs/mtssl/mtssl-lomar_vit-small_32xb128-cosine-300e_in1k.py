# Multi-task ViT and LoMaR: windows of the first view are reconstructed in a pass of their own.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(
    encoder=dict(mask_token=True),
    tasks=dict(windows=dict(
        type='MaskedModeling',
        masking=dict(type='WindowMasking', window=7, views=4, ratio=0.8),
        neck=dict(type='TokenPredictor'),
        target=dict(type='PixelTarget', normalise=True),
        head=dict(type='PixelLoss', distance='l2'))))
