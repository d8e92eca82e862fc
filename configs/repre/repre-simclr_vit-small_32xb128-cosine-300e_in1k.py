# RePre on SimCLR, ViT-S; published linear top-1 69.7 (base 69.0).
_base_ = ['../simclr/simclr_vit-small_32xb128-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
