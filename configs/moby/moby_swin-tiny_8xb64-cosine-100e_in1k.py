# MoBY, Swin-T, 100 epochs; published linear top-1 70.9.
_base_ = './moby_swin-tiny_8xb64-cosine-300e_in1k.py'

train_cfg = dict(max_epochs=100)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=5e-4, by_epoch=True, begin=0, end=5,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=5e-6, by_epoch=True, begin=5, end=100,
        convert_to_iter_based=True),
]
