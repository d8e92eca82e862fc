# MAE on CIFAR-10: 16 of 64 patches enter, a decoder of two blocks.
_base_ = ['../../_base_/models/mae_vit.py', '../_base_/cifar10.py']
model = dict(
    data_preprocessor=_base_.preprocessor, encoder=_base_.vit_p4.encoder,
    tasks=dict(masked=dict(neck=dict(width=128, depth=2, num_heads=4))))
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
