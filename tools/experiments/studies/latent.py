"""Latent targets on CIFAR-10: iBOT, DINOv2, I-JEPA, data2vec and MaskFeat beside MAE and DINO."""

question = 'Do methods that predict features learn on CIFAR-10 what MAE and DINO learn?'
page = 'latent.md'
baseline = 'random'
seeds = (0, 1, 2)
flops = 64e12
precision = 'bf16'
files = {'train_dataloader.dataset.file': 'cifar10_train.npz'}

place = 'configs/study/cifar10/{}_vit-p4_cifar10.py'
runs = {
    'random': dict(config=place.format('mae'), iterations=0, label='random weights'),
    'mae': dict(config=place.format('mae'), label='MAE'),
    'dino': dict(config=place.format('dino'), label='DINO'),
    'ibot': dict(config=place.format('ibot'), label='iBOT'),
    'dinov2': dict(config=place.format('dinov2'), label='DINOv2'),
    'ijepa': dict(config=place.format('ijepa'), label='I-JEPA'),
    'data2vec': dict(config=place.format('data2vec'), label='data2vec'),
    'maskfeat': dict(config=place.format('maskfeat'), label='MaskFeat'),
    # goes on from MAE's encoder of the same seed
    'mae-ibot': dict(
        config=place.format('ibot_from-weights'), start='mae', baseline='mae',
        label="iBOT from MAE's encoder"),
}
del place

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
classifier = dict(
    config='configs/study/cifar10/finetune_vit-p4_cifar10.py',
    files={
        'train_dataloader.dataset.dataset.file': 'cifar10_train.npz',
        'test_dataloader.dataset.file': 'cifar10_test.npz',
    },
    metrics=['accuracy/top1'])
finetune = {
    'finetune_10pct': dict(classifier, options={'train_dataloader.dataset.fraction': 0.1}),
}
del classifier
