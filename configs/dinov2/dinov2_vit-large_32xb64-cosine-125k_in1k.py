# DINOv2, ViT-L/16, the short schedule (configs/train/vitl16_short.yaml of facebookresearch/dinov2);
# published kNN 81.6, linear 82.9, in about a day on 32 A100.
_base_ = [
    '../_base_/models/vit.py', '../_base_/datasets/imagenet_dino.py',
    '../_base_/default_runtime.py']

model = dict(
    encoder=dict(
        arch=dict(base='large'),
        position='learned', interpolate_offset=0.1, mask_token=True, layer_scale=1e-5,
        initialisation='dinov2', drop_path=0.3, uniform_drop_path=True),
    target=dict(momentum=0.992, end=1.0, schedule='cosine', when='after_step', drop_path=0.0),
    tasks=dict(
        distillation=dict(
            type='SelfDistillation', global_views=(0, 1), local_views=(2, 3, 4, 5, 6, 7, 8, 9),
            masked_by='masked',
            projector=dict(
                type='PrototypeMLP', prototypes=65536, hidden_channels=2048, bottleneck=256,
                num_layers=3, fixed_lengths=False),
            head=dict(
                type='DINOLoss', student_temperature=0.1, teacher_temperature=0.07,
                warmup_temperature=0.04, warmup_iters=37500)),
        masked=dict(
            type='MaskedModeling', views=(0, 1), average='images',
            masking=dict(type='StratifiedMasking', share=0.5, ratio=(0.1, 0.5)),
            neck=dict(type='PatchProjector', projector='distillation'),
            target=dict(
                type='PrototypeTarget', center_over='masked', teacher_temperature=0.07,
                warmup_temperature=0.04, warmup_iters=37500),
            head=dict(type='DistributionLoss', student_temperature=0.1)),
        koleo=dict(type='KoLeo', views=(0, 1), masked_by='masked')),
    balancer=dict(type='FixedWeights', weights=dict(koleo=0.1)))

# The official code blurs with one minus the probabilities that it states (1, .1 and .5), and its
# weights were trained so: the first global crop is never blurred, the second nearly always.
global_crop = dict(_base_.crop, scale=(0.32, 1.0))
local_crop = dict(_base_.crop, of_image=3 / 7, scale=(0.05, 0.32))
views = [
    dict(transforms=[global_crop, *_base_.colour]),
    dict(transforms=[global_crop, *_base_.colour, dict(_base_.blur, p=0.9), _base_.solarize]),
    dict(transforms=[local_crop, *_base_.colour, dict(_base_.blur, p=0.5)], num=8),
]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 32 processes x 64 = 2048
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=pipeline))

# 4e-3 x sqrt(2048 / 1024). Each part of the model is clipped by its own norm; the rate decays from
# layer to layer and is a fifth in the patch embedding.
optim_wrapper = dict(
    type='AutocastOptimWrapper',  # bfloat16
    optimizer=dict(type='AdamW', fused=True, lr=5.657e-3, betas=(0.9, 0.999), weight_decay=0.04),
    clip_parts=3.0,
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.9, custom_keys={'patch_embed': dict(lr_mult=0.2)}))
# another batch needs the square root of its share, which --auto-scale-lr does not know
auto_scale_lr = dict(base_batch_size=2048, enable=False)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=125000)  # 100 "epochs" of 1250
warmup = dict(type='mmvitssl.LinearLR', start_factor=0.0, by_epoch=False, begin=0)
cosine = dict(type='mmvitssl.CosineAnnealingLR', eta_min=1e-6, by_epoch=False)
param_scheduler = [dict(warmup, end=12500), dict(cosine, begin=12500)]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.4),
    # 1250 iterations are two passes over ImageNet
    dict(type='FreezeHook', names=('projector.last_layer', ), epochs=2),
    dict(type='CollapseHook'), dict(type='ReduceLogsHook'),
]

default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2500))
log_processor = dict(by_epoch=False)
