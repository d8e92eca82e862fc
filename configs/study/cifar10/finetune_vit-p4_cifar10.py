# Fine-tuning on a share of CIFAR-10's labels; a study sets the encoder to that of the pretraining.
_base_ = '../_base_/cifar10.py'

model = dict(
    type='ImageClassifier', data_preprocessor=_base_.preprocessor,
    encoder=dict(_base_.vit_p4.encoder, type='ViT', arch=_base_.arch),
    readout='mean',
    head=dict(type='LinearHead', num_classes=10))
gentle = dict(type='RandomResizedCrop', scale=(0.5, 1.0))
train_views = dict(type='MultiView', views=[dict(transforms=[gentle, _base_.flip])])
whole = dict(type='MultiView', views=[dict(transforms=[])])
train_dataloader = dict(dataset=dict(
    _delete_=True, type='LabelSubset', fraction=0.1,
    dataset=dict(
        type='PackedImages', file='data/cifar10_train.npz',
        pipeline=[_base_.load, train_views, _base_.pack])))
test_dataloader = dict(
    batch_size=500, num_workers=0,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='mmvitssl.collate_views'),
    dataset=dict(
        type='PackedImages', file='data/cifar10_test.npz',
        pipeline=[_base_.load, whole, _base_.pack]))
test_evaluator = dict(type='ClassAccuracy')
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(lr=1e-3, betas=(0.9, 0.999)),
    clip_grad=dict(max_norm=1.0),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(_delete_=True, decay_rate=0.75))
train_cfg = dict(max_iters=400)
param_scheduler = [dict(_base_.warmup, end=20), dict(_base_.cosine, begin=20)]
