# I-JEPA, ViT-L/16, 600 epochs; published linear 77.5 (paper, table 1).
_base_ = './ijepa_vit-base_16xb128-cosine-600e_in1k.py'
model = dict(
    encoder=dict(arch=dict(_delete_=True, base='large')),
    tasks=dict(masked=dict(neck=dict(depth=12, num_heads=16))))
