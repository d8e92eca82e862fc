"""Does it learn? Methods on CIFAR-10, for the same number of operations, and random weights."""

question = 'Does every method learn features on CIFAR-10 that are worth more than random ones?'
page = 'learning.md'
baseline = 'random'
seeds = (0, 1, 2)
flops = 64e12
precision = 'bf16'
files = {'train_dataloader.dataset.file': 'cifar10_train.npz'}

configs = 'configs/study/cifar10/'
suffix = '_vit-p4_cifar10.py'
runs = {
    'random': dict(config=configs + 'mae' + suffix, iterations=0, label='random weights'),
    # LoMaR's encoder has relative positions alone
    'random-irpe': dict(
        config=configs + 'lomar' + suffix, iterations=0, label="random weights, LoMaR's encoder"),
    'mae': dict(config=configs + 'mae' + suffix, label='MAE'),
    'lomar': dict(config=configs + 'lomar' + suffix, label='LoMaR', baseline='random-irpe'),
    'mocov3': dict(config=configs + 'mocov3' + suffix, label='MoCo v3'),
    'repre-mocov3': dict(config=configs + 'repre-mocov3' + suffix, label='RePre on MoCo v3'),
    'mtssl': dict(config=configs + 'mtssl' + suffix, label='multi-task ViT'),
    'cae-rgb': dict(config=configs + 'cae-rgb' + suffix, label='CAE (pixels)'),
    'cae': dict(
        config=configs + 'cae' + suffix, label='CAE (own d-VAE)',
        tokenizer=dict(
            config=configs + 'dvae_cifar10.py', key='model.tasks.context.target.checkpoint')),
    'dino': dict(config=configs + 'dino' + suffix, label='DINO'),
    'sit': dict(config=configs + 'sit' + suffix, label='SiT'),
}
# contrastive methods see few images for 64e12 operations: MoCo v3 has 1.4 epochs
for name in ('mocov3', 'repre-mocov3', 'mtssl', 'lomar', 'mae', 'cae-rgb', 'dino', 'sit'):
    runs[name + '-4x'] = dict(
        runs[name], flops=256e12, method=name, label=runs[name]['label'] + ', 4 times as long')
del configs, suffix, name

pipeline = [
    dict(type='LoadImage', backend='opencv'),
    dict(type='MultiView', views=[dict(transforms=[])]),
    dict(type='PackViews'),
]
probe = dict(
    readouts=('mean', 'cls'),
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
    'finetune_1pct': dict(
        classifier,
        options={'train_dataloader.dataset.fraction': 0.01, 'train_cfg.max_iters': 100}),
}
del classifier
