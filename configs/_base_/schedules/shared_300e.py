"""MoCo v3's AdamW schedule for methods without a momentum target; total batch 4096."""

_base_ = './mocov3_300e.py'

custom_hooks = [dict(type='CollapseHook'), dict(type='ReduceLogsHook')]
