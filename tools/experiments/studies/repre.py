"""RePre's claim: a contrastive method with its reconstruction branch beats the method without it."""

_base_ = '_base_/cifar10.py'
question = "Does RePre's branch lift MoCo v3, DINO and SimCLR at equal steps and at equal compute?"
page = 'repre.md'
baseline = 'mocov3'

place = 'configs/study/cifar10/{}_vit-p4_cifar10.py'
repre = dict(config=place.format('repre-mocov3'))
neck = 'model.tasks.reconstruction.neck.'
levels = 'model.tasks.reconstruction.levels'
branch = dict(
    type='Reconstruction', views=(0, ),
    neck=dict(type='MultiHierarchyFusion', width=64, layers=2),
    head=dict(type='PixelLoss', distance='l1'))
balancer = dict(type='UncertaintyWeights')
runs = {
    'mocov3': dict(config=place.format('mocov3'), label='MoCo v3'),
    'repre-mocov3': dict(repre, label='RePre on MoCo v3, equal compute'),
    # the steps that MoCo v3 takes
    'repre-mocov3-steps': dict(repre, iterations=557, label='RePre on MoCo v3, equal steps'),
    'simclr': dict(config=place.format('simclr'), label='SimCLR'),
    'repre-simclr': dict(
        config=place.format('simclr'), label='RePre on SimCLR, equal compute',
        options={
            'model.tasks.reconstruction': branch,
            'model.balancer': dict(
                balancer,
                likelihoods=dict(contrastive='classification', reconstruction='laplace')),
        }),
    'dino': dict(config=place.format('dino'), label='DINO'),
    'repre-dino': dict(
        config=place.format('dino'), label='RePre on DINO, equal compute',
        options={
            'model.tasks.reconstruction': branch,
            'model.balancer': dict(
                balancer,
                likelihoods=dict(distillation='classification', reconstruction='laplace')),
        }),
    'single': dict(
        repre, label='the deepest level alone', options={levels: (3, ), neck + 'levels': 1}),
    'layers1': dict(repre, label='one layer of convolution', options={neck + 'layers': 1}),
    'layers4': dict(repre, label='four layers of convolution', options={neck + 'layers': 4}),
    'transformer': dict(
        repre, label='transformer fusion, two layers', options={neck + 'fusion': 'transformer'}),
}
del place, repre, neck, levels, branch, balancer

probe = dict(readouts=('mean', 'cls'))
