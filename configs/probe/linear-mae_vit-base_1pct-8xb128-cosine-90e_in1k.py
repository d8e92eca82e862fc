# Linear probe of MAE, ViT-B, on 1 % of the labels; a batch for as many images, nothing published.
_base_ = './linear-mae_vit-base_10pct-8xb128-cosine-90e_in1k.py'
train_dataloader = dict(dataset=dict(fraction=0.01))
