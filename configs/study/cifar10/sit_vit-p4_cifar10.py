# SiT on CIFAR-10: contrast, rotation and reconstruction of altered patches, weights learned.
_base_ = '../_base_/two_views.py'

model = dict(
    type='Pretrainer', data_preprocessor=_base_.preprocessor,
    encoder=dict(
        _base_.vit_p4.encoder, type='ViT', arch=_base_.arch, position='learned',
        prefix_tokens=('rotation', 'contrast')),
    tasks=dict(
        contrast=dict(
            type='Contrastive', token='contrast', keys='online',
            projector=dict(
                type='ProjectionMLP', out_channels=128, num_layers=1, bias=True, last_norm=False),
            head=dict(type='NTXent', temperature=0.5)),
        rotation=dict(type='Rotation', views=(0, 1), token='rotation'),
        paint=dict(
            type='Inpainting', views=(0, 1), patches=0.5, modes=('noise', 'other', 'blur', 'grey'),
            distance='l1', on='all')),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrast='classification', rotation='classification', paint='laplace'),
        initial=1.0))
