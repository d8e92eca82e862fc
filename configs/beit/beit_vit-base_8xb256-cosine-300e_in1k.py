# BEiT, ViT-B, 300 epochs; fine-tuned top-1 82.8 (as measured in LoMaR's table 3).
_base_ = './beit_vit-base_8xb256-cosine-800e_in1k.py'

train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=10, end=300,
        convert_to_iter_based=True),
]
