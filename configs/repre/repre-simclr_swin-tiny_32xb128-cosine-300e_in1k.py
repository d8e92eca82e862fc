# RePre on SimCLR, Swin-T.
_base_ = '../simclr/simclr_swin-tiny_32xb128-cosine-300e_in1k.py'

model = dict(
    tasks=dict(
        reconstruction=dict(
            type='Reconstruction',
            views=(0,),
            neck=dict(type='MultiHierarchyFusion', width=48, layers=2),
            head=dict(type='PixelLoss', distance='l1'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrastive='classification', reconstruction='laplace')))

# The logarithms of the two scales are no weights: no decay, and a learning rate that moves them.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'balancer': dict(lr_mult=5.0, decay_mult=0.0)}))
