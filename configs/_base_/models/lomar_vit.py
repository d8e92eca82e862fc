"""LoMaR (Chen et al., 2022), ViT-B: four windows of 7 x 7 patches an image, 80 % masked, iRPE."""
_base_ = './vit.py'
model = dict(
    encoder=dict(
        arch=dict(base='base'),
        position='none', relative_position='irpe', mask_token=True, initialisation='xavier'),
    tasks=dict(masked=dict(
        type='MaskedModeling',
        masking=dict(type='WindowMasking', window=7, views=4, ratio=0.8),
        neck=dict(type='TokenPredictor'),
        target=dict(type='PixelTarget', normalise=True),
        head=dict(type='PixelLoss', distance='l2'))))
