# A discrete VAE with 8192 ids for token targets (BEiT, CAE), trained without labels:
# python tools/train_dvae.py configs/tokenizers/dvae_8xb32-50e_in1k.py --out data/tokenizers/dvae.safetensors
_base_ = ['../_base_/datasets/imagenet.py', '../_base_/default_runtime.py']

model = dict(
    type='DiscreteVAE', vocabulary=8192, hidden=256, codes=256, blocks=3, stride=8,
    temperature=(1.0, 0.0625), kl_weight=0.01)

view = [
    dict(type='RandomResizedCrop', size=112, scale=(0.2, 1.0), interpolation='lanczos'),
    dict(type='RandomFlip', p=0.5),
]
load = dict(type='LoadImage')  # by Pillow
pipeline = [load, dict(type='MultiView', views=[dict(transforms=view)]), _base_.pack]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=pipeline))

# float32: straight categories do not come out of half-precision logits reliably
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.99), weight_decay=0.0),
    clip_grad=dict(max_norm=1.0))
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50)
param_scheduler = [dict(
    type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=0, convert_to_iter_based=True)]
custom_hooks = [dict(type='ProgressHook'), dict(type='ReduceLogsHook')]
