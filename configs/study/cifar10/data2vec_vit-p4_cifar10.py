# data2vec-style on CIFAR-10: MAE's drop is replaced by mask tokens, the teacher's last two blocks.
_base_ = ['../../_base_/models/mae_vit.py', '../_base_/cifar10.py']
model = dict(
    data_preprocessor=_base_.preprocessor,
    encoder=dict(_base_.vit_p4.encoder, mask_token=True),
    target=dict(momentum=0.998, end=1.0, schedule='linear', when='after_step'),
    tasks=dict(masked=dict(
        masking=dict(ratio=0.6, mode='replace'),
        neck=dict(_delete_=True, type='TokenPredictor'),
        target=dict(_delete_=True, type='FeatureTarget', top=2),
        head=dict(_delete_=True, type='LatentLoss', distance='smooth_l1', beta=2.0))))
custom_hooks = [dict(type='MomentumUpdateHook'), dict(type='ReduceLogsHook')]
