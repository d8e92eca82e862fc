"""BEiT (Bao et al., 2022), ViT-B: ids of masked blocks, relative bias shared by all blocks."""
_base_ = './vit.py'

model = dict(
    encoder=dict(
        arch=dict(base='base'), position='none', relative_position='shared_bias', mask_token=True,
        qkv_bias='qv', layer_scale=0.1, drop_path=0.1, initialisation='beit'),
    tasks=dict(
        masked=dict(
            type='MaskedModeling',
            # 75 of 196 patches in the official code
            masking=dict(type='BlockMasking', ratio=75 / 196),
            neck=dict(type='TokenPredictor', initialisation='cut_normal'),
            target=dict(
                type='TokenTarget', checkpoint='data/tokenizers/dalle.safetensors',
                vocabulary=8192),
            head=dict(type='TokenLoss'))))
