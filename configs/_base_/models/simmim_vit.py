"""SimMIM (Xie et al., 2022), ViT-B: squares of 32 pixels masked, raw pixels by a linear layer."""
_base_ = './beit_vit.py'
model = dict(tasks=dict(masked=dict(
    masking=dict(_delete_=True, type='RandomMasking', ratio=0.6, mode='replace', unit=2),
    neck=dict(_delete_=True, type='TokenPredictor', initialisation='torch'),
    target=dict(_delete_=True, type='PixelTarget', normalise=False),
    head=dict(_delete_=True, type='PixelLoss', distance='l1'))))
