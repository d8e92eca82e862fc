# Supervised Swin-T by its published recipe: RePre's row "IN Sup. 300" (COCO 43.7 / 39.8).
_base_ = './_base_/supervised.py'
model = dict(encoder=dict(_base_.swin_tiny, drop_path=0.2))
# 1e-3 x 1024 / 1024
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(decay_rate=1.0, no_decay=('relative_position_bias_table', )))
param_scheduler = [
    dict(_base_.warmup, start_factor=1e-3, end=20),
    dict(_base_.cosine, type='mmvitssl.CosineAnnealingLR', whole=True, eta_min=1e-5, begin=20),
]
