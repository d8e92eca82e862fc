# RePre on MoBY, DeiT-S; published linear top-1 73.9 (base 72.8).
_base_ = ['../moby/moby_vit-small_8xb64-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
