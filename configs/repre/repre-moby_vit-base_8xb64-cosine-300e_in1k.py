# RePre on MoBY, DeiT-B.
_base_ = ['../moby/moby_vit-base_8xb64-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
