"""MAE (He et al., 2022), ViT-B: three quarters of the patches dropped, a light decoder."""

model = dict(
    type='Pretrainer',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    encoder=dict(
        type='ViT',
        arch=dict(base='base'),
        image_size=224,
        patch_size=16,
        position='sincos_column_first',
        initialisation='xavier'),
    tasks=dict(
        masked=dict(
            type='MaskedModeling',
            masking=dict(type='RandomMasking', ratio=0.75, mode='drop'),
            neck=dict(type='MAEDecoder', width=512, depth=8, num_heads=16),
            target=dict(type='PixelTarget', normalise=True),
            head=dict(type='PixelLoss', distance='l2'))))
