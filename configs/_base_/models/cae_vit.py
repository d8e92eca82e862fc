"""CAE (Chen et al., 2022), ViT-B: latents of masked patches, then ids from those latents alone."""
_base_ = './vit.py'

model = dict(
    encoder=dict(
        arch=dict(base='base'),
        position='sincos_row_first', qkv_bias='qv', layer_scale=0.1, drop_path=0.1,
        initialisation='cae'),
    tasks=dict(context=dict(
        type='ContextAutoencoding',
        masking=dict(type='BlockMasking', ratio=0.5, exact=True, mode='drop'),
        regressor=dict(type='ContextRegressor', depth=4, drop_path=0.1, layer_scale=0.1),
        decoder=dict(type='ContextDecoder', depth=4, drop_path=0.1, layer_scale=0.1),
        target=dict(
            type='TokenTarget', checkpoint='data/tokenizers/dalle.safetensors', vocabulary=8192),
        head=dict(type='TokenLoss'),
        align_weight=2.0)))
