"""100 epochs of COCO, 184,375 steps of 64 images: ViTDet's own recipe.

Weight decay spares the encoder's norms and positions only. Biases, relative positions, and the
norms of pyramid and heads are decayed, because ViTDet exempts by class and these norms are of a
class of its own; the same parameters are decayed here.
"""
_base_ = './coco_lsj.py'

train_dataloader = dict(
    batch_size=1,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(times=1))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=184375, val_interval=20000)
optim_wrapper = dict(
    _delete_=True, type='AmpOptimWrapper', constructor='mmvitssl.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(
        decay_rate=0.7, one_dimensional_decay=True,
        no_decay=('pos_embed', 'norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias')))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(
        type='MultiStepLR', begin=0, end=184375, by_epoch=False, milestones=[163889, 177546],
        gamma=0.1),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=20000))
log_processor = dict(by_epoch=False)
