"""SimSiam (Chen and He, 2021) on ViT-S: shared weights, stop-gradient, a predictor."""

model = dict(
    type='Pretrainer',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    encoder=dict(
        type='ViT',
        arch=dict(base='small', num_heads=12),
        image_size=224,
        patch_size=16,
        position='sincos_row_first',
        initialisation='mocov3',
        freeze_patch_embed=True),
    tasks=dict(
        contrastive=dict(
            type='Contrastive',
            views=(0, 1),
            keys='detached',
            projector=dict(
                type='ProjectionMLP', in_channels=384, hidden_channels=2048, out_channels=2048,
                num_layers=3, bias=False, last_norm=True),
            predictor=dict(
                type='ProjectionMLP', in_channels=2048, hidden_channels=512, out_channels=2048,
                num_layers=2, bias=False, last_bias=True, last_norm=False),
            # - cos / 2, shifted so that learned weights have something positive to weigh
            head=dict(type='CosineLoss', scale=0.5, offset=0.5))))
