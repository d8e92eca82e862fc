"""MoCo v2 (Chen et al., 2020) on ViT-S: one direction, a queue of 65536 keys, no predictor."""

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
    target=dict(momentum=0.999, schedule='constant', when='before_forward'),
    tasks=dict(
        contrastive=dict(
            type='Contrastive',
            views=(0, 1),
            pairs=((0, 1), ),
            projector=dict(
                type='ProjectionMLP', hidden_channels=None, out_channels=128,
                num_layers=2, bias=True, norm=False, last_norm=False),
            head=dict(type='QueueInfoNCE', size=65536, temperature=0.2, queues=1, first_view=1))))
