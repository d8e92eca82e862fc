# The multi-task ViT on CIFAR-10: contrast, rotation, colour and relative position in one forward.
_base_ = '../_base_/two_views.py'

model = dict(
    type='Pretrainer',
    data_preprocessor=_base_.preprocessor,
    encoder=dict(
        type='ViT', arch=_base_.arch, image_size=_base_.size, patch_size=_base_.patch,
        position='learned', prefix_tokens=('contrast', 'rotation')),
    tasks=dict(
        contrast=dict(
            type='Contrastive',
            token='contrast',
            views=(0, 1),
            keys='online',
            projector=dict(
                type='ProjectionMLP', hidden_channels=512, out_channels=128, num_layers=2),
            head=dict(type='NTXent', temperature=0.2)),
        rotation=dict(type='Rotation', views=(0, 1), token='rotation'),
        # the patch-level tasks alter 8 + 4 of the 64 patches of each view, none of another's
        colour=dict(type='Colorization', views=(0, 1), patches=8 / 64, predicts='mean', hidden=256),
        place=dict(
            type='RelativePosition', views=(0, 1), pairs=2 / 64,
            distance=1, crop=0.75, jitter=0.2)))
