# RePre on MoCo v2, ViT-B.
_base_ = ['../mocov2/mocov2_vit-base_8xb128-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_contrast)
optim_wrapper = _base_.scales
