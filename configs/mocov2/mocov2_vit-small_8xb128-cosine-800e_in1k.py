# MoCo v2, ViT-S, 800 epochs; linear top-1 72.7 as RePre reports it.
_base_ = './mocov2_vit-small_8xb128-cosine-300e_in1k.py'

train_cfg = dict(max_epochs=800)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=40, end=800,
        convert_to_iter_based=True),
]
