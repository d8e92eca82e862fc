# RePre on MoCo v3, ViT-S, 600 epochs; published linear top-1 73.9 (base 73.4).
_base_ = ['../mocov3/mocov3_vit-small_32xb128-cosine-600e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
