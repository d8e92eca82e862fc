# RePre on MoBY, Swin-T, 300 epochs; published linear top-1 76.1 (base 75.0).
_base_ = ['../moby/moby_swin-tiny_8xb64-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction_swin), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
