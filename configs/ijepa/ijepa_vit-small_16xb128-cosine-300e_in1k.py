# I-JEPA, ViT-S/16, 300 epochs; no published result.
_base_ = './ijepa_vit-base_16xb128-cosine-600e_in1k.py'
model = dict(
    encoder=dict(arch=dict(_delete_=True, base='small')),
    tasks=dict(masked=dict(neck=dict(width=192, num_heads=6))))
train_cfg = dict(max_epochs=300)
