# Linear evaluation of BEiT, ViT-B: classifiers after every block, each of class token and mean of the
# patches of the raw block output, with its own optimizer, which decays biases too.
_base_ = [
    './_base_/linear_vit.py', './_base_/imagenet_linear_bilinear.py', './_base_/adamw_100e.py',
    '../_base_/default_runtime.py']
model = dict(
    encoder=dict(position='none', relative_position='shared_bias', qkv_bias='qv', layer_scale=0.1),
    readout='blocks',
    head=dict(type='BlockwiseLinearHead'))
train_dataloader = dict(batch_size=128)
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))  # bicubic
optim_wrapper = dict(
    optimizer=dict(lr=4e-3, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, decay_rate=1.0, one_dimensional_decay=True))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0)]
