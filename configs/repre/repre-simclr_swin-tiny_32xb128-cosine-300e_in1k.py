# RePre on SimCLR, Swin-T.
_base_ = ['../simclr/simclr_swin-tiny_32xb128-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction_swin), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
