# RePre on MoCo v3, ViT-S; published linear top-1 73.2 (300 epochs), 0.7 above MoCo v3 alone.
_base_ = ['../mocov3/mocov3_vit-small_32xb128-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
