# RePre on DINO, ViT-B, 800 epochs; published linear top-1 79.2 (base 78.2).
_base_ = ['../dino/dino_vit-base_8xb128-cosine-800e_in1k.py', './_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction), balancer=_base_.beside_distillation)
optim_wrapper = _base_.scales
