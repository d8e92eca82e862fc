# Fine-tuning of SimMIM, Swin-B, at 192 pixels; published 82.8 for 100 epochs.
_base_ = './finetune-simmim_vit-base_32xb32-cosine-100e_in1k.py'
model = dict(
    encoder=dict(
        _delete_=True, type='SwinTransformer', arch='base', image_size=192, window_size=6,
        drop_path=0.1),
    readout='cls', pooled_norm=None,
    head=dict(std=0.02))
train_dataloader = dict(batch_size=128)
# 1.25e-3 x 2048 / 512
optim_wrapper = dict(
    optimizer=dict(lr=5e-3),
    paramwise_cfg=dict(decay_rate=0.9, no_decay=('relative_position_bias_table', )))
auto_scale_lr = dict(base_batch_size=2048)
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], eta_min=1e-06)]
