# BYOL with its published optimizer: LARS, 0.3 x 4096 / 256.
_base_ = './byol_vit-small_32xb128-cosine-300e_in1k.py'
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='LARS', lr=4.8, momentum=0.9, weight_decay=1e-6),
    **_base_.undecayed_norms)
param_scheduler = [
    dict(_base_.per_step, type='LinearLR', start_factor=1e-4, begin=0, end=10),
    dict(_base_.per_step, type='CosineAnnealingLR', eta_min=0.0, begin=10),
]
