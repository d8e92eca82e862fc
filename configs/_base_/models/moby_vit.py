"""MoBY (Xie et al., 2021), DeiT-S: two queues, drop path on the online branch only."""

model = dict(
    type='Pretrainer',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    encoder=dict(
        type='ViT',
        arch=dict(base='small'),
        image_size=224,
        patch_size=16,
        position='learned',
        initialisation='deit',
        drop_path=0.2),
    target=dict(momentum=0.99, end=1.0, schedule='cosine', when='before_forward', drop_path=0.0),
    tasks=dict(
        contrastive=dict(
            type='Contrastive',
            views=(0, 1),
            projector=dict(
                type='ProjectionMLP', hidden_channels=4096, out_channels=256,
                num_layers=2, bias=True, last_norm=False),
            predictor=dict(
                type='ProjectionMLP', hidden_channels=4096, num_layers=2, bias=True,
                last_norm=False),
            head=dict(type='QueueInfoNCE', size=4096, temperature=0.2, queues=2))))
