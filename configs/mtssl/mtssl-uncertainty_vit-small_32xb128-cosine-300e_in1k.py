# Multi-task ViT with weights learned from uncertainty.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(balancer=dict(
    type='UncertaintyWeights',
    likelihoods=dict(
        contrast='classification', rotation='classification', colour='laplace',
        place='classification')))

optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'balancer': dict(lr_mult=5.0, decay_mult=0.0)}))
