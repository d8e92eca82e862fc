# RePre on MoCo v3, ViT-Ti with 6 blocks, on CamVid.
_base_ = './mocov3_vit-tiny-6_1xb32-200_camvid.py'
model = dict(
    tasks=dict(reconstruction=dict(
        type='Reconstruction', views=(0,), levels=(1 / 3, 1 / 2, 5 / 6, 1.0),
        neck=dict(type='MultiHierarchyFusion', width=64, layers=2),
        head=dict(type='PixelLoss', distance='l1'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrastive='classification', reconstruction='laplace')))
