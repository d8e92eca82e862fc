"""Does it learn? Methods on CIFAR-10, for the same number of operations, and random weights."""

_base_ = '_base_/cifar10_finetune.py'
question = 'Does every method learn features on CIFAR-10 that are worth more than random ones?'
page = 'learning.md'
baseline = 'random'

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
    'ibot': dict(config=configs + 'ibot' + suffix, label='iBOT'),
    'dinov2': dict(config=configs + 'dinov2' + suffix, label='DINOv2'),
    'ijepa': dict(config=configs + 'ijepa' + suffix, label='I-JEPA'),
    'data2vec': dict(config=configs + 'data2vec' + suffix, label='data2vec'),
    'maskfeat': dict(config=configs + 'maskfeat' + suffix, label='MaskFeat'),
    # goes on from MAE's encoder of the same seed
    'mae-ibot': dict(
        config=configs + 'ibot_from-weights' + suffix, start='mae', baseline='mae',
        label="iBOT from MAE's encoder"),
}
# contrastive methods see few images for 64e12 operations: MoCo v3 has 1.4 epochs
for name in ('mocov3', 'repre-mocov3', 'mtssl', 'lomar', 'mae', 'cae-rgb', 'dino', 'sit'):
    runs[name + '-4x'] = dict(
        runs[name], flops=256e12, method=name, label=runs[name]['label'] + ', 4 times as long')
del configs, suffix, name

probe = dict(readouts=('mean', 'cls'))
finetune = {
    'finetune_1pct': dict(
        _base_.finetune.finetune_10pct,
        options={'train_dataloader.dataset.fraction': 0.01, 'train_cfg.max_iters': 100}),
}
