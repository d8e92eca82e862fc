# Attentive probe on CIFAR-10: the encoder is frozen, a learned token attends to its tokens.
_base_ = './finetune_vit-p4_cifar10.py'
model = dict(
    readout='cls', frozen=True,
    head=dict(_delete_=True, type='AttentiveHead', num_classes=10))
optim_wrapper = dict(
    optimizer=dict(lr=2e-3, weight_decay=0.0),
    paramwise_cfg=dict(_delete_=True, decay_rate=1.0))
