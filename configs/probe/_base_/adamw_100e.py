"""MAE's fine-tuning schedule of ViT-B for a total batch of 1024: AdamW, layer decay 0.65."""
# 5e-4 x 1024 / 256
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.65, no_decay=('cls_token', 'pos_embed')))
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=10)
per_step = dict(by_epoch=True, convert_to_iter_based=True)
warmup = dict(
    per_step, type='mmvitssl.LinearLR', inclusive=False, start_factor=1e-4, begin=0)
linear = dict(warmup, inclusive=True)  # of BEiT and CAE: its last step has the full rate
cosine = dict(per_step, type='CosineAnnealingLR')
# every layer ends at the same share of its learning rate: 1e-6 behind the last one
param_scheduler = [dict(warmup, end=5), dict(cosine, eta_min_ratio=5e-4, begin=5)]
# DeiT's steps once per epoch, one epoch late; its cosine counts from the first epoch
deit = [
    dict(
        type='mmvitssl.LinearLR', start_factor=1e-3, inclusive=False, lag=1, by_epoch=True, begin=0,
        end=5),
    dict(
        type='mmvitssl.CosineAnnealingLR', whole=True, eta_min=1e-5, lag=1, by_epoch=True, begin=5),
]
custom_hooks = [dict(type='ReduceLogsHook')]
