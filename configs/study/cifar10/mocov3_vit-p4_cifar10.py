# MoCo v3 on CIFAR-10, with projectors of 512 channels.
_base_ = ['../../_base_/models/mocov3_vit.py', '../_base_/two_views.py']
model = dict(
    data_preprocessor=_base_.preprocessor,
    encoder=dict(_base_.vit_p4.encoder, arch=_base_.arch),
    tasks=dict(contrastive=dict(
        projector=dict(hidden_channels=512, out_channels=128),
        predictor=dict(hidden_channels=512))))
custom_hooks = [dict(type='MomentumUpdateHook'), dict(type='ReduceLogsHook')]
