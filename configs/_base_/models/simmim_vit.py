"""SimMIM (Xie et al., 2022), ViT-B: squares of 32 pixels masked, raw pixels by a linear layer."""

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
        relative_position='shared_bias',
        mask_token=True,
        qkv_bias='qv',
        layer_scale=0.1,
        drop_path=0.1,
        initialisation='beit'),
    tasks=dict(
        masked=dict(
            type='MaskedModeling',
            masking=dict(type='RandomMasking', ratio=0.6, mode='replace', unit=2),
            neck=dict(type='TokenPredictor', in_channels=768, out_channels=768),
            target=dict(type='PixelTarget', patch_size=16, normalise=False),
            head=dict(type='PixelLoss', distance='l1'))))
