"""LoMaR (Chen et al., 2022), ViT-B: four windows of 7 x 7 patches an image, 80 % masked, iRPE."""

model = dict(
    type='Pretrainer',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    encoder=dict(
        type='ViT',
        arch=dict(base='base'),
        image_size=224,
        patch_size=16,
        position='none',
        relative_position='irpe',
        mask_token=True,
        initialisation='xavier'),
    tasks=dict(
        masked=dict(
            type='MaskedModeling',
            masking=dict(type='WindowMasking', window=7, views=4, ratio=0.8),
            neck=dict(type='TokenPredictor'),
            target=dict(type='PixelTarget', normalise=True),
            head=dict(type='PixelLoss', distance='l2'))))
