# RePre on DINO, Swin-T, 100 epochs (table 2).
_base_ = '../dino/dino_swin-tiny_8xb128-cosine-100e_in1k.py'

model = dict(
    tasks=dict(
        reconstruction=dict(
            type='Reconstruction',
            views=(0,),
            neck=dict(type='MultiHierarchyFusion', width=48, layers=2),
            head=dict(type='PixelLoss', distance='l1'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(distillation='classification', reconstruction='laplace')))

# The logarithms of the two scales are no weights: no decay, and a learning rate that moves them.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'balancer': dict(lr_mult=5.0, decay_mult=0.0)}))
