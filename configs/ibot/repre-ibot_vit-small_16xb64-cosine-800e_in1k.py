# RePre's branch on iBOT: the pixels of the first crop, from an unmasked pass of its own.
_base_ = ['./ibot_vit-small_16xb64-cosine-800e_in1k.py', '../repre/_base_/reconstruction.py']
model = dict(
    tasks=dict(reconstruction=dict(_base_.reconstruction, levels=4)),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(
            distillation='classification', masked='classification', reconstruction='laplace')))
optim_wrapper = _base_.scales
