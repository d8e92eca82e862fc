"""SimCLR (Chen et al., 2020) on ViT-S: shared weights, gradient through all embeddings."""
_base_ = './vit.py'
model = dict(
    encoder=dict(
        arch=dict(base='small', num_heads=12),
        position='sincos_row_first', initialisation='mocov3', freeze_patch_embed=True),
    tasks=dict(contrastive=dict(
        type='Contrastive', views=(0, 1), keys='online',
        projector=dict(
            type='ProjectionMLP', hidden_channels=4096, out_channels=256, num_layers=3, bias=False,
            last_norm=True, last_affine=True),
        head=dict(type='NTXent', temperature=0.1))))
