# Linear probe of BYOL's repository, which has ResNets; nobody published a number of ViT with it.
# The numbers of MoCo v3's paper are of linear-mocov3.
_base_ = [
    './_base_/linear_vit.py',
    './_base_/imagenet_linear_mae.py',
    './_base_/sgd_90e.py',
    '../_base_/default_runtime.py',
]

model = dict(encoder=dict(arch=dict(base='small', num_heads=12), position='sincos_row_first'))
train_dataloader = dict(batch_size=128)
# 0.2 x 4096 / 256; the paper takes the best of five rates
optim_wrapper = dict(optimizer=dict(lr=3.2, nesterov=True))
auto_scale_lr = dict(base_batch_size=4096)
train_cfg = dict(max_epochs=80)
param_scheduler = [dict(_base_.param_scheduler[0], convert_to_iter_based=True)]
