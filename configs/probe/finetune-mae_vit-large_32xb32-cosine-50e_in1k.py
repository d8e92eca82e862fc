# Fine-tuning of MAE, ViT-L; published 85.9 for 1600 epochs of pretraining.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'
model = dict(encoder=dict(arch=dict(base='large'), drop_path=0.2))
# 1e-3 x 1024 / 256
optim_wrapper = dict(optimizer=dict(lr=4e-3), paramwise_cfg=dict(decay_rate=0.75))
train_cfg = dict(max_epochs=50)
param_scheduler = [dict(_base_.warmup, end=5), dict(_base_.cosine, eta_min_ratio=2.5e-4, begin=5)]
