"""ViTDet's parts, for its detectors: windowed attention in a plain ViT, and layer norms in heads."""
norm = dict(type='mmvitssl.LN2d', eps=1e-6)
backbone = dict(
    type='mmvitssl.WindowedFeatures', levels=1, global_blocks=4, window_size=14,
    relative_grid=(64, 64),
    encoder=dict(
        type='mmvitssl.ViT',
        arch=dict(base='base'),
        image_size=224, patch_size=16, drop_path=0.1))
