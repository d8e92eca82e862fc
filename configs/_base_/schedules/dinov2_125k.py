"""DINOv2's AdamW schedule for a total batch of 2048: 100 "epochs" of 1250 iterations.

Each part of the model is clipped by its own norm; the learning rate decays from layer to layer and
is a fifth in the patch embedding.
"""
# 4e-3 x sqrt(2048 / 1024)
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='AdamW', fused=True, lr=5.657e-3, betas=(0.9, 0.999), weight_decay=0.04),
    clip_parts=3.0,
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.9, custom_keys={'patch_embed': dict(lr_mult=0.2)}))
# another batch needs the square root of its share, which --auto-scale-lr does not know
auto_scale_lr = dict(base_batch_size=2048, enable=False)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=125000)
warmup = dict(type='mmvitssl.LinearLR', start_factor=0.0, by_epoch=False, begin=0)
cosine = dict(type='mmvitssl.CosineAnnealingLR', eta_min=1e-6, by_epoch=False)
param_scheduler = [dict(warmup, end=12500), dict(cosine, begin=12500)]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.4),
    # 1250 iterations are two passes over ImageNet
    dict(type='FreezeHook', names=('projector.last_layer', ), epochs=2),
    dict(type='CollapseHook'), dict(type='ReduceLogsHook'),
]
