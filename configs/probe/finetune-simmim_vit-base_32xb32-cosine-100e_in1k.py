# Fine-tuning of SimMIM, ViT-B; published 83.8 for 800 epochs. Rates are scaled by 512: published is
# 5e-3 for a batch of 2048.
_base_ = './finetune-beit_vit-base_32xb32-cosine-100e_in1k.py'
# 1.25e-3 x 1024 / 512
optim_wrapper = dict(optimizer=dict(lr=2.5e-3), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(_base_.warmup, start_factor=2e-4, end=20),
    dict(_base_.cosine, type='mmvitssl.CosineAnnealingLR', whole=True, eta_min=5e-7, begin=20),
]
