# I-JEPA, ViT-H/14, 300 epochs (configs/in1k_vith14_ep300.yaml); published linear 79.3.
_base_ = './ijepa_vit-base_16xb128-cosine-600e_in1k.py'
model = dict(
    encoder=dict(arch=dict(_delete_=True, base='huge'), patch_size=14),
    tasks=dict(masked=dict(neck=dict(depth=12, num_heads=16))))
train_cfg = dict(max_epochs=300)
