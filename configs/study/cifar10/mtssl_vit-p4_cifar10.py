# The multi-task ViT on CIFAR-10: contrast, rotation, colour and relative position in one forward.
# The patch-level tasks alter 8 + 4 of the 64 patches of each view, none of another's.
_base_ = ['../_base_/two_views.py', '../../_base_/models/mtssl_cifar10_tasks.py']
model = dict(
    type='Pretrainer', data_preprocessor=_base_.preprocessor,
    encoder=dict(
        _base_.vit_p4.encoder, type='ViT', arch=_base_.arch, position='learned',
        prefix_tokens=('contrast', 'rotation')),
    tasks=dict(
        contrast=_base_.contrast, rotation=_base_.rotation, colour=_base_.colour,
        place=_base_.place))
