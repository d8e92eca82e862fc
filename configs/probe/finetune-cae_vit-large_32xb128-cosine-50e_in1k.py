# Fine-tuning of CAE, ViT-L; published 86.2 for 1600 epochs.
_base_ = './finetune-cae_vit-base_32xb128-cosine-100e_in1k.py'
model = dict(encoder=dict(arch=dict(base='large'), layer_scale=1e-5, drop_path=0.2))
optim_wrapper = dict(optimizer=dict(lr=2e-3), paramwise_cfg=dict(decay_rate=0.75))
train_cfg = dict(max_epochs=50)
param_scheduler = [dict(_base_.linear, end=5), dict(_base_.cosine, eta_min_ratio=5e-4, begin=5)]
