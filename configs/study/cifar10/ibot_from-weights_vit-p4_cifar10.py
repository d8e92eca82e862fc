# Go on with iBOT from a pretrained encoder of a study (--init FILE): new heads learn alone for an
# epoch, then the encoder moves at low rates, its first blocks least.
_base_ = './ibot_vit-p4_cifar10.py'
model = dict(target=dict(momentum=0.999))
optim_wrapper = dict(
    optimizer=dict(lr=2e-4),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, decay_rate=0.75))
custom_hooks = [
    dict(type='MomentumUpdateHook'),
    dict(type='FreezeHook', names=('encoder.', ), epochs=1),
    dict(type='ReduceLogsHook'),
]
