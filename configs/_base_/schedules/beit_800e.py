"""BEiT's and CAE's AdamW schedule for a total batch of 2048; the learning rate is not scaled."""
_base_ = './adamw.py'
optim_wrapper = dict(
    optimizer=dict(lr=1.5e-3, eps=1e-8, weight_decay=0.05), clip_grad=dict(max_norm=3.0),
    **_base_.undecayed_norms)
auto_scale_lr = dict(base_batch_size=2048)
train_cfg = dict(max_epochs=800)
cosine = dict(_base_.cosine, eta_min=1e-5)
param_scheduler = [dict(_base_.warmup, end=10), dict(cosine, begin=10)]
