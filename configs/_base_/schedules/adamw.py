"""AdamW in bfloat16 with a warm-up and a cosine, per iteration: what the pretrainings share."""
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='AdamW', fused=True, betas=(0.9, 0.999)))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300)
custom_hooks = [dict(type='ReduceLogsHook')]

# `end` and `begin` are the epochs of the warm-up: `[dict(warmup, end=10), dict(cosine, begin=10)]`
per_step = dict(by_epoch=True, convert_to_iter_based=True)
warmup = dict(per_step, type='LinearLR', start_factor=1e-4, begin=0)
cosine = dict(per_step, type='CosineAnnealingLR', eta_min=0.0)
# norms and biases are not decayed
undecayed_norms = dict(
    constructor='LayerDecayOptimWrapperConstructor', paramwise_cfg=dict(decay_rate=1.0))
