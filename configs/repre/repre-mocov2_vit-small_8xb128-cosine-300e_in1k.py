# RePre on MoCo v2, ViT-S; published linear top-1 72.1 (base 71.6).
_base_ = ['../mocov2/mocov2_vit-small_8xb128-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
