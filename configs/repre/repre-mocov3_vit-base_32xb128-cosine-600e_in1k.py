# RePre on MoCo v3, ViT-B, 600 epochs; published linear top-1 77.5 (base 76.7).
_base_ = ['../mocov3/mocov3_vit-base_32xb128-cosine-600e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
