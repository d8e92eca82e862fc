# Pretraining on CIFAR-10, and the probe of its features.
seeds = (0, 1, 2)
flops = 64e12
precision = 'bf16'
files = {'train_dataloader.dataset.file': 'cifar10_train.npz'}

pipeline = [
    dict(type='LoadImage', backend='opencv'),
    dict(type='MultiView', views=[dict(transforms=[])]),
    dict(type='PackViews'),
]
probe = dict(
    readouts=('mean', ),
    neighbours=(20, ),
    batch_size=500,
    bank=dict(type='PackedImages', file='cifar10_train.npz', stride=5, pipeline=pipeline),
    queries=dict(type='PackedImages', file='cifar10_test.npz', pipeline=pipeline))
del pipeline
