"""SETR's published recipe for Cityscapes, 40k iterations; each head states its rate."""
_base_ = [
    'mmseg::_base_/datasets/cityscapes_768x768.py', 'mmseg::_base_/default_runtime.py',
    'mmseg::_base_/schedules/schedule_40k.py']
train_dataloader = dict(batch_size=1)
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.0), paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=10.0))))
auto_scale_lr = dict(base_batch_size=8)

# the published rate, which falls to the end of the training
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=1e-4, begin=0, by_epoch=False)]
