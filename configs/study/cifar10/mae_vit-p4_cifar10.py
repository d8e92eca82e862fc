# MAE on CIFAR-10: 16 of 64 patches enter, a decoder of two blocks.
_base_ = ['../../_base_/models/mae_vit.py', '../_base_/cifar10.py']

model = dict(
    data_preprocessor=_base_.preprocessor,
    encoder=dict(
        arch=dict(_delete_=True, **_base_.arch), image_size=_base_.size, patch_size=_base_.patch),
    tasks=dict(
        masked=dict(
            neck=dict(
                in_channels=_base_.channels, out_channels=3 * _base_.patch**2, width=128, depth=2,
                num_heads=4, grid=_base_.size // _base_.patch),
            target=dict(patch_size=_base_.patch))))
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
