"""MoCo v3 on a Vision Transformer (Chen et al., 2021): heads and target; the arch is for you to set."""
_base_ = './vit.py'
model = dict(
    encoder=dict(position='sincos_row_first', initialisation='mocov3', freeze_patch_embed=True),
    target=dict(momentum=0.99, end=1.0, schedule='cosine', when='before_forward'),
    tasks=dict(
        contrastive=dict(
            type='Contrastive',
            views=(0, 1),
            projector=dict(
                type='ProjectionMLP', hidden_channels=4096, out_channels=256, num_layers=3),
            predictor=dict(type='ProjectionMLP', hidden_channels=4096, num_layers=2),
            head=dict(type='InfoNCE', temperature=0.2, scale=0.4))))  # scale = 2T
