# Fine-tuning of MAE, ViT-B, on 1 % of the labels, for more epochs; nothing published.
_base_ = './finetune-mae_vit-base_10pct-32xb32-cosine-200e_in1k.py'
train_dataloader = dict(dataset=dict(fraction=0.01))
train_cfg = dict(max_epochs=400)
