# SimCLR with its published optimizer: LARS, 0.3 x 4096 / 256.
_base_ = './simclr_vit-small_32xb128-cosine-300e_in1k.py'

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='LARS', lr=4.8, momentum=0.9, weight_decay=1e-6),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))
train_cfg = dict(max_epochs=300)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=10,
        convert_to_iter_based=True),
]
