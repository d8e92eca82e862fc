# Linear probe on CIFAR-10: features of all images are computed once, then the head takes minutes on
# two CPU cores. Point the files to yours: --cfg-options train_dataloader.dataset.dataset.file=...
_base_ = ['./_base_/linear_vit.py', './_base_/sgd_90e.py', '../_base_/default_runtime.py']

model = dict(
    data_preprocessor=dict(mean=(0.491, 0.482, 0.447), std=(0.247, 0.244, 0.262)),
    encoder=dict(
        arch=dict(_delete_=True, base='tiny'), image_size=32, patch_size=4, position='learned'),
    head=dict(type='NormalisedLinearHead', num_classes=10))

whole = dict(type='MultiView', views=[dict(transforms=[])])
pipeline = [dict(type='LoadImage'), whole, dict(type='PackViews')]
train_dataloader = dict(
    batch_size=256, drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(
        type='CachedFeatures',
        dataset=dict(type='PackedImages', file='data/cifar10_train.npz', pipeline=pipeline)))
val_dataloader = dict(
    batch_size=256,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(
        type='CachedFeatures',
        dataset=dict(type='PackedImages', file='data/cifar10_test.npz', pipeline=pipeline)))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='ClassAccuracy')
val_cfg = test_cfg = dict()

optim_wrapper = dict(optimizer=dict(lr=0.1))  # 0.1 x 256 / 256
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(max_epochs=100, val_interval=20)
custom_hooks = [dict(type='ReduceLogsHook'), dict(type='FeatureCacheHook', batch_size=256)]
