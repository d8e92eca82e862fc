# CAE with pixels as the target (the paper's RGB variant) on CIFAR-10: half of the 64 patches masked.
_base_ = ['../../_base_/models/cae_vit.py', '../_base_/cifar10.py']
block = dict(depth=2, drop_path=0.0)
model = dict(
    data_preprocessor=_base_.preprocessor,
    encoder=dict(_base_.vit_p4.encoder, drop_path=0.0),
    tasks=dict(context=dict(
        masking=dict(min_block=4),
        regressor=block, decoder=block,
        target=dict(_delete_=True, type='PixelTarget', normalise=True),
        head=dict(_delete_=True, type='PixelLoss', distance='l2'))))
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
