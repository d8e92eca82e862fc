# SimMIM on CIFAR-10: squares of 2 x 2 patches masked, 60 %.
_base_ = ['../../_base_/models/simmim_vit.py', '../_base_/cifar10.py']
model = dict(
    data_preprocessor=_base_.preprocessor,
    encoder=dict(_base_.vit_p4.encoder, drop_path=0.0))
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
