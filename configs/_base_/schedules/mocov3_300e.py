"""MoCo v3's AdamW schedule for a total batch of 4096: all parameters decayed, 40 epochs warm-up."""
_base_ = './shared_300e.py'
# the last step of the warm-up is not at the full rate, as in the official code
warmup = dict(_base_.warmup, type='mmvitssl.LinearLR', inclusive=False)
cosine = dict(_base_.cosine, type='mmvitssl.CosineAnnealingLR')
param_scheduler = [dict(warmup, end=40), dict(cosine, begin=40)]
custom_hooks = [dict(type='MomentumUpdateHook'), *_base_.custom_hooks]
