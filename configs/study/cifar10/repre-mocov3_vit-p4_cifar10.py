# RePre on MoCo v3, on CIFAR-10: features after each of the four blocks are fused.
_base_ = './mocov3_vit-p4_cifar10.py'
model = dict(
    tasks=dict(reconstruction=dict(
        type='Reconstruction', views=(0, ),
        neck=dict(type='MultiHierarchyFusion', width=64, layers=2),
        head=dict(type='PixelLoss', distance='l1'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrastive='classification', reconstruction='laplace')))
