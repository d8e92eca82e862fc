# RePre on DINO, ViT-S, 300 epochs; published linear top-1 76.7 (base 75.9).
_base_ = ['../dino/dino_vit-small_8xb128-cosine-300e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_distillation)
optim_wrapper = _base_.scales
