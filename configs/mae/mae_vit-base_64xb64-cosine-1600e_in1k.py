# MAE, ViT-B, 1600 epochs: the released weights; fine-tuned top-1 83.6, linear 67.8.
_base_ = './mae_vit-base_64xb64-cosine-800e_in1k.py'

train_cfg = dict(max_epochs=1600)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=40, end=1600,
        convert_to_iter_based=True),
]
