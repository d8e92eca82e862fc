# RePre on BYOL, ViT-S; published linear top-1 72.2 (base 71.4).
_base_ = '../byol/byol_vit-small_32xb128-cosine-300e_in1k.py'

model = dict(
    tasks=dict(
        reconstruction=dict(
            type='Reconstruction',
            views=(0,),
            neck=dict(type='MultiHierarchyFusion', width=128, layers=2),
            head=dict(type='PixelLoss', distance='l1'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrastive='gaussian', reconstruction='laplace')))

# The logarithms of the two scales are no weights: no decay, and a learning rate that moves them.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'balancer': dict(lr_mult=5.0, decay_mult=0.0)}))
