# Linear evaluation of BEiT, ViT-B: classifiers after every block, each of class token and mean of the
# patches of the raw block output, with its own optimizer, which decays biases too.
_base_ = [
    './_base_/linear_vit.py',
    './_base_/imagenet_linear_bilinear.py',
    './_base_/adamw_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    encoder=dict(position='none', relative_position='shared_bias', qkv_bias='qv', layer_scale=0.1),
    readout='blocks',
    head=dict(type='BlockwiseLinearHead'))
test_view = [
    dict(type='Resize', of_image=8 / 7, interpolation='bicubic'), dict(type='CenterCrop')
]
test_pipeline = [
    _base_.load, dict(type='MultiView', views=[dict(transforms=test_view)]), _base_.pack
]
train_dataloader = dict(batch_size=128)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(
    optimizer=dict(lr=4e-3, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, decay_rate=1.0, one_dimensional_decay=True))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0)]
