"""MAE's linear schedule for a total batch of 16384: LARS without weight decay."""
_base_ = './sgd_90e.py'

# 0.1 x 16384 / 256; the trust ratio counts for the matrix and not for the bias
optim_wrapper = dict(optimizer=dict(type='LARS', lr=6.4, always_adapt=True))
auto_scale_lr = dict(base_batch_size=16384)
per_step = dict(by_epoch=True, convert_to_iter_based=True)
param_scheduler = [
    dict(per_step, type='LinearLR', start_factor=1e-4, begin=0, end=10),
    dict(per_step, type='CosineAnnealingLR', eta_min=0.0, begin=10),
]
