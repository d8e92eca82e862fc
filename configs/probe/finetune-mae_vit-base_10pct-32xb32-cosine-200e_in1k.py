# Fine-tuning of MAE, ViT-B, on 10 % of the labels, for more epochs; nothing published.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'
train_dataloader = dict(dataset=dict(
    _delete_=True, type='LabelSubset', fraction=0.1, dataset={{_base_.train_dataloader.dataset}}))
train_cfg = dict(max_epochs=200)
param_scheduler = [dict(_base_.warmup, end=20), dict(_base_.cosine, eta_min_ratio=5e-4, begin=20)]
