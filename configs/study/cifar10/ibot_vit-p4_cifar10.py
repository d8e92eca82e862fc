# iBOT on CIFAR-10: two crops of 32 and four of 16 pixels, 1,024 prototypes, shared heads.
_base_ = ['../../_base_/models/ibot_vit.py', '../_base_/multicrop.py']
model = dict(
    data_preprocessor=_base_.preprocessor,
    encoder=dict(_base_.vit_p4.encoder, drop_path=0.0),
    target=dict(momentum=0.99),
    tasks=dict(distillation=_base_.distillation))
