# Supervised ViT-S by DeiT's recipe, its repeated augmentation included: RePre's row "IN Supervised"
# (Cityscapes 71.33).
_base_ = './_base_/supervised.py'
model = dict(encoder=dict(arch=dict(base='small'), position='learned', initialisation='deit'))
train_dataloader = dict(sampler=dict(repeats=3))
# 5e-4 x 1024 / 512
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(decay_rate=1.0))
param_scheduler = _base_.deit
