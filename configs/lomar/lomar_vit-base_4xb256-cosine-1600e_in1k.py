# LoMaR, ViT-B, 1600 epochs; fine-tuned top-1 84.1.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'

train_cfg = dict(max_epochs=1600)
param_scheduler = [
    dict(
        type='mmvitssl.LinearLR', start_factor=1e-4, inclusive=False,
        by_epoch=True, begin=0, end=40,
        convert_to_iter_based=True),
    dict(
        type='mmvitssl.CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=40,
        convert_to_iter_based=True),
]
