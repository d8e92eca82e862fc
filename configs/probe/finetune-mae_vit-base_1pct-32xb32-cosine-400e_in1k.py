# Fine-tuning of MAE, ViT-B, on 1 % of the labels, for more epochs; nothing published.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='LabelSubset',
        fraction=0.01,
        dataset={{_base_.train_dataloader.dataset}}))
train_cfg = dict(max_epochs=400)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=20,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min_ratio=5e-4, by_epoch=True, begin=20,
        convert_to_iter_based=True),
]
