# Fine-tuning of CAE, ViT-S with 12 heads; stochastic depth is ViT-B's.
_base_ = './finetune-cae_vit-base_32xb128-cosine-100e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small', num_heads=12)))
optim_wrapper = dict(optimizer=dict(lr=1.6e-2), paramwise_cfg=dict(decay_rate=0.75))
train_cfg = dict(max_epochs=200)
param_scheduler = [dict(_base_.linear, end=5), dict(_base_.cosine, eta_min_ratio=6.25e-5, begin=5)]
