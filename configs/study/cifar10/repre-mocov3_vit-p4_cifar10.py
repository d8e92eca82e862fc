# RePre on MoCo v3, on CIFAR-10: features after each of the four blocks are fused.
_base_ = './mocov3_vit-p4_cifar10.py'

model = dict(
    tasks=dict(
        reconstruction=dict(
            type='Reconstruction',
            views=(0, ),
            levels=(0, 1, 2, 3),
            neck=dict(
                type='MultiHierarchyFusion', in_channels=_base_.channels, levels=4, width=64,
                layers=2, patch_size=_base_.patch),
            head=dict(type='PixelLoss', distance='l1'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrastive='classification', reconstruction='laplace')))
