"""BYOL (Grill et al., 2020) on ViT-S with MoCo v3's recipe: no negatives, a predictor and a slow target."""

_base_ = './vit.py'

model = dict(
    encoder=dict(
        arch=dict(base='small', num_heads=12), position='sincos_row_first',
        initialisation='mocov3', freeze_patch_embed=True),
    target=dict(momentum=0.99, end=1.0, schedule='cosine', when='after_step'),
    tasks=dict(
        contrastive=dict(
            type='Contrastive',
            views=(0, 1),
            projector=dict(
                type='ProjectionMLP', hidden_channels=4096, out_channels=256,
                num_layers=2, bias=True, last_bias=False, last_norm=False),
            predictor=dict(
                type='ProjectionMLP', hidden_channels=4096, num_layers=2, bias=True,
                last_bias=False, last_norm=False),
            head=dict(type='CosineLoss', scale=2.0, offset=2.0))))
