# I-JEPA on CIFAR-10: a context block and four target blocks of 64 patches, a predictor of 64 channels.
_base_ = ['../../_base_/models/ijepa_vit.py', '../_base_/cifar10.py']
model = dict(
    data_preprocessor=_base_.preprocessor, encoder=_base_.vit_p4.encoder,
    target=dict(momentum=0.99),
    tasks=dict(masked=dict(masking=dict(min_keep=4), neck=dict(width=64, depth=2, num_heads=4))))
custom_hooks = [dict(type='MomentumUpdateHook'), dict(type='ReduceLogsHook')]
