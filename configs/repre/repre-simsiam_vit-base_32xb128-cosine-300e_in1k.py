# RePre on SimSiam, ViT-B.
_base_ = ['../simsiam/simsiam_vit-base_32xb128-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_cosine)
optim_wrapper = _base_.scales
