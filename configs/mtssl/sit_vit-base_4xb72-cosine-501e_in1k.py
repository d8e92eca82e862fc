# SiT (Atito et al., 2021), ViT-B, as its first code: contrast, rotation and reconstruction, weights
# learned. The contrastive token is the class token.
_base_ = [
    '../_base_/models/vit.py', '../_base_/datasets/imagenet_mocov3.py',
    '../_base_/schedules/shared_300e.py', '../_base_/default_runtime.py']

# timm's augmentation, twice; each image is drawn three times
view = [
    dict(type='RandomResizedCrop', scale=(0.08, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', p=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=view, num=2)]), _base_.pack]
# 4 processes x 72 = 288
train_dataloader = dict(batch_size=72, sampler=dict(repeats=3), dataset=dict(pipeline=pipeline))

model = dict(
    encoder=dict(
        arch=dict(base='base'),
        position='learned', initialisation='deit', prefix_tokens=('rotation', ), drop_path=0.1),
    tasks=dict(
        contrast=dict(
            type='Contrastive', keys='online',
            projector=dict(
                type='ProjectionMLP', out_channels=512, num_layers=1, bias=True, last_norm=False),
            head=dict(type='NTXent', temperature=0.5, scale=0.5, local=True)),
        rotation=dict(type='Rotation', views=(0, 1), token='rotation'),
        paint=dict(
            type='Inpainting', views=(0, 1), blocks=True, modes=('grey', 'blur', 'noise', 'other'),
            distance='l1', on='all')),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrast='classification', rotation='classification', paint='laplace'),
        initial=1.0))

# 5e-4 x 288 / 512
optim_wrapper = dict(
    optimizer=dict(lr=2.8125e-4, weight_decay=0.05),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(
        decay_rate=1.0, no_decay=('cls_token', 'pos_embed', 'prefix_tokens.rotation')))
auto_scale_lr = dict(base_batch_size=288)
train_cfg = dict(max_epochs=501)
# 1e-6 to the rate to 1e-5; steps once per epoch, one epoch late, as the official code
param_scheduler = [
    dict(
        type='mmvitssl.LinearLR', start_factor=3.5556e-3, inclusive=False, lag=1, by_epoch=True,
        begin=0, end=5),
    dict(
        type='mmvitssl.CosineAnnealingLR', whole=True, eta_min=1e-5, lag=1, by_epoch=True, begin=5),
]
