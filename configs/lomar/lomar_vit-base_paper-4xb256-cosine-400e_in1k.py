# LoMaR, ViT-B, 400 epochs as the paper words it: a warm-up of 10 epochs, and crops without flips.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
view = [dict(type='RandomResizedCrop', scale=(0.2, 1.0), interpolation='bicubic')]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=view)]), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
