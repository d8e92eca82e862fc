"""12 epochs of COCO at many scales with layer decay: CAE's published recipe for ViT-B.

Weight decay spares norms and biases; the class token is decayed, as by CAE, whose name test misses
it after the prefix.
"""
_base_ = [
    './coco_multiscale.py', 'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py']

optim_wrapper = dict(
    _delete_=True, type='AmpOptimWrapper', constructor='mmvitssl.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.75, no_decay=('pos_embed', )))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[9, 11], gamma=0.1),
]
auto_scale_lr = dict(enable=True, base_batch_size=32)
