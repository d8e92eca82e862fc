# Linear probe of MoBY, DeiT-S; published 72.8 for 300 epochs. The official probe leaves stochastic
# depth of 0.2 on; here the encoder is in eval mode, and 0.1 of label smoothing is kept.
_base_ = './linear-mocov3_vit-base_8xb128-cosine-90e_in1k.py'

model = dict(
    encoder=dict(arch=dict(base='small'), position='learned'), label_smoothing=0.1,
    head=dict(std=0.02))
train_dataloader = dict(batch_size=64)
# 1.0 x 512 / 512
optim_wrapper = dict(optimizer=dict(lr=1.0, nesterov=True), clip_grad=dict(max_norm=5.0))
auto_scale_lr = dict(base_batch_size=512)
train_cfg = dict(max_epochs=100)
late = dict(lag=1, by_epoch=True, convert_to_iter_based=True)
param_scheduler = [
    dict(late, type='mmvitssl.LinearLR', start_factor=5e-7, inclusive=False, begin=0, end=5),
    dict(late, type='mmvitssl.CosineAnnealingLR', whole=True, eta_min=5e-6, begin=5),
]
