# RePre on MoBY, Swin-T, 100 epochs; published linear top-1 71.8 (base 70.9).
_base_ = ['../moby/moby_swin-tiny_8xb64-cosine-100e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction_swin), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
