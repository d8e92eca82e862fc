"""I-JEPA (Assran et al., 2023), ViT-B: features of target blocks, from a context block alone."""
_base_ = './vit.py'
model = dict(
    encoder=dict(arch=dict(base='base'), position='sincos_column_first', class_token=False),
    target=dict(momentum=0.996, end=1.0, schedule='linear', when='after_step'),
    tasks=dict(masked=dict(
        type='MaskedModeling',
        masking=dict(
            type='MultiBlockMasking', targets=4, target_scale=(0.15, 0.2),
            target_aspect=(0.75, 1.5), context_scale=(0.85, 1.0), min_keep=10),
        neck=dict(type='BlockPredictor', width=384, depth=6, num_heads=12),
        target=dict(type='FeatureTarget', normalise=True),
        head=dict(type='LatentLoss', distance='smooth_l1', beta=1.0))))
