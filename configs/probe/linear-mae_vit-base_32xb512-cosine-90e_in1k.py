# Linear probe of MAE, ViT-B, its own protocol; published 68.0 (repository 67.8) for 1600 epochs.
_base_ = [
    './_base_/linear_vit.py', './_base_/imagenet_linear.py', './_base_/sgd_90e.py',
    '../_base_/default_runtime.py']

model = dict(encoder=dict(position='sincos_column_first'), head=dict(type='NormalisedLinearHead'))
# the crop is one draw, clipped to the image
crop = dict(type='RandomResizedCrop', interpolation='bicubic', clip=True)
train_views = dict(type='MultiView', views=[dict(transforms=[crop, dict(type='RandomFlip')])])
train_dataloader = dict(dataset=dict(pipeline=[_base_.load, train_views, _base_.pack]))
# 0.1 x 16384 / 256; the trust ratio counts for the matrix and not for the bias
optim_wrapper = dict(optimizer=dict(type='LARS', lr=6.4, always_adapt=True))
auto_scale_lr = dict(base_batch_size=16384)
per_step = dict(by_epoch=True, convert_to_iter_based=True)
param_scheduler = [
    dict(
        per_step, type='mmvitssl.LinearLR', inclusive=False, start_factor=1e-4, begin=0, end=10),
    dict(per_step, type='CosineAnnealingLR', eta_min=0.0, begin=10),
]
