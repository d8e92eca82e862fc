"""MoCo v3's AdamW schedule for a total batch of 4096: all parameters decayed, 40 epochs warm-up."""
_base_ = './shared_300e.py'
custom_hooks = [dict(type='MomentumUpdateHook'), *_base_.custom_hooks]
