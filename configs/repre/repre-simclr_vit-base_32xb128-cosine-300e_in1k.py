# RePre on SimCLR, ViT-B; published linear top-1 74.4 (base 73.9).
_base_ = ['../simclr/simclr_vit-base_32xb128-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
