"""MAE (He et al., 2022), ViT-B: three quarters of the patches dropped, a light decoder."""
_base_ = './vit.py'
model = dict(
    encoder=dict(arch=dict(base='base'), position='sincos_column_first', initialisation='xavier'),
    tasks=dict(masked=dict(
        type='MaskedModeling',
        masking=dict(type='RandomMasking', ratio=0.75, mode='drop'),
        neck=dict(type='MAEDecoder', width=512, depth=8, num_heads=16),
        target=dict(type='PixelTarget', normalise=True),
        head=dict(type='PixelLoss', distance='l2'))))
