# RePre's branch on iBOT: the pixels of the first crop, from an unmasked pass of its own.
_base_ = './ibot_vit-small_16xb64-cosine-800e_in1k.py'

model = dict(
    tasks=dict(
        reconstruction=dict(
            type='Reconstruction',
            views=(0, ),
            levels=4,
            neck=dict(type='MultiHierarchyFusion', width=128, layers=2),
            head=dict(type='PixelLoss', distance='l1'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(
            distillation='classification', masked='classification', reconstruction='laplace')))

# The logarithms of the scales are no weights: no decay, and a learning rate that moves them.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'balancer': dict(lr_mult=5.0, decay_mult=0.0)}))
