"""MAE's AdamW schedule for a total batch of 4096; norms and biases are not decayed, tokens are."""
_base_ = './adamw.py'
# 1.5e-4 x 4096 / 256
optim_wrapper = dict(
    optimizer=dict(lr=2.4e-3, betas=(0.9, 0.95), weight_decay=0.05), **_base_.undecayed_norms)
auto_scale_lr = dict(base_batch_size=4096)
train_cfg = dict(max_epochs=800)
# the last step of the warm-up is not at the full rate, as in the official code
warmup = dict(_base_.warmup, type='mmvitssl.LinearLR', inclusive=False)
cosine = dict(_base_.cosine, type='mmvitssl.CosineAnnealingLR')
param_scheduler = [dict(warmup, end=40), dict(cosine, begin=40)]
