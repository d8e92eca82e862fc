"""BEiT's and CAE's AdamW schedule for a total batch of 2048; the learning rate is not scaled."""

optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(
        type='AdamW', fused=True, lr=1.5e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))

auto_scale_lr = dict(base_batch_size=2048)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=800)

param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=10,
        convert_to_iter_based=True),
]

custom_hooks = [dict(type='ReduceLogsHook')]
