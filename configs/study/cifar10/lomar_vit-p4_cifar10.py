# LoMaR on CIFAR-10: two windows of 5 x 5 of the 8 x 8 patches, 80 % masked.
_base_ = ['../../_base_/models/lomar_vit.py', '../_base_/cifar10.py']
model = dict(
    data_preprocessor=_base_.preprocessor, encoder=_base_.vit_p4.encoder,
    tasks=dict(masked=dict(masking=dict(window=5, views=2))))
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
