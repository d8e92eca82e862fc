# MAE, ViT-Ti with 6 blocks, on CamVid.
_base_ = ['../../../_base_/models/mae_vit.py', '../../_base_/camvid_pretrain.py']
model = dict(
    encoder=_base_.tiny,
    tasks=dict(masked=dict(neck=dict(width=128, depth=2, num_heads=4))))
