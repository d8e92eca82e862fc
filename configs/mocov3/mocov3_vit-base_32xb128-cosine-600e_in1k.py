# MoCo v3, ViT-B, 600 epochs; published linear top-1 76.7.
_base_ = './mocov3_vit-base_32xb128-cosine-300e_in1k.py'

train_cfg = dict(max_epochs=600)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=40, end=600,
        convert_to_iter_based=True),
]
