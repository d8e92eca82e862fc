"""RePre (Wang et al., 2022): the task beside a contrastive one, and two losses with learned weights."""
reconstruction = dict(
    type='Reconstruction', views=(0,),
    neck=dict(type='MultiHierarchyFusion', width=128, layers=2),
    head=dict(type='PixelLoss', distance='l1'))
reconstruction_swin = dict(
    reconstruction, neck=dict(type='MultiHierarchyFusion', width=48, layers=2))

# by the kind of the other loss: cross-entropy or cosine of a task `contrastive`, or DINO's
weights = dict(type='UncertaintyWeights')
beside_contrast = dict(
    weights, likelihoods=dict(contrastive='classification', reconstruction='laplace'))
beside_cosine = dict(weights, likelihoods=dict(contrastive='gaussian', reconstruction='laplace'))
beside_distillation = dict(
    weights, likelihoods=dict(distillation='classification', reconstruction='laplace'))

# The logarithms of the two scales are no weights: no decay, and a learning rate that moves them.
scales = dict(paramwise_cfg=dict(custom_keys={'balancer': dict(lr_mult=5.0, decay_mult=0.0)}))
