# RePre on DINO, Swin-T, 100 epochs (table 2).
_base_ = ['../dino/dino_swin-tiny_8xb128-cosine-100e_in1k.py', './_base_/reconstruction.py']
model = dict(
    tasks=dict(reconstruction=_base_.reconstruction_swin), balancer=_base_.beside_distillation)
optim_wrapper = _base_.scales
