# RePre on MoCo v2, ViT-S, 800 epochs; published linear top-1 73.4 (base 72.7).
_base_ = ['../mocov2/mocov2_vit-small_8xb128-cosine-800e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
