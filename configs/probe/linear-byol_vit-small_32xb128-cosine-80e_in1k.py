# Linear probe of BYOL's repository, which has ResNets; nobody published a number of ViT with it.
# The numbers of MoCo v3's paper are of linear-mocov3.
_base_ = [
    './_base_/linear_vit.py',
    './_base_/imagenet_linear.py',
    './_base_/sgd_90e.py',
    '../_base_/default_runtime.py',
]

model = dict(encoder=dict(arch=dict(base='small', num_heads=12), position='sincos_row_first'))
crop = dict(type='RandomResizedCrop', interpolation='bicubic', clip=True)
views = [dict(transforms=[crop, dict(type='RandomFlip')])]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))
# 0.2 x 4096 / 256; the paper takes the best of five rates
optim_wrapper = dict(optimizer=dict(lr=3.2, nesterov=True))
auto_scale_lr = dict(base_batch_size=4096)
train_cfg = dict(max_epochs=80)
param_scheduler = [
    dict(
        type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0, convert_to_iter_based=True),
]
