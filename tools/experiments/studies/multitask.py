"""The multi-task ViT, never verified by anyone: which tasks help, which hurt, which weights."""

question = 'Do tasks in one forward help each other on CIFAR-10 at equal compute?'
page = 'multitask.md'
baseline = 'contrast'
seeds = (0, 1, 2)
flops = 64e12
precision = 'bf16'
files = {'train_dataloader.dataset.file': 'cifar10_train.npz'}

tasks = dict(
    contrast=dict(
        type='Contrastive', token='contrast', views=(0, 1), keys='online',
        projector=dict(
            type='ProjectionMLP', hidden_channels=512, out_channels=128, num_layers=2),
        head=dict(type='NTXent', temperature=0.2)),
    rotation=dict(type='Rotation', views=(0, 1), token='rotation'),
    colour=dict(
        type='Colorization', views=(0, 1), patches=8, predicts='mean',
        hidden=256),
    place=dict(
        type='RelativePosition', views=(0, 1), pairs=2, distance=1,
        crop=0.75, jitter=0.2),
    jigsaw=dict(
        type='Jigsaw', views=(0, 1), patches=8, position='slot'),
    paint=dict(
        type='Inpainting', views=(0, 1), patches=16, modes=('mask', ),
        distance='l1'))
four = ('contrast', 'rotation', 'colour', 'place')
six = (*four, 'jigsaw', 'paint')
chosen = {name: (name, ) for name in six}
chosen |= {f'contrast+{name}': ('contrast', name) for name in six[1:]}
chosen |= {'four': four, 'six': six}
tokens = ('contrast', 'rotation')


def run(names, **more):
    """The recipe with some of the tasks."""
    options = {
        'model.tasks': dict(_delete_=True, **{name: tasks[name] for name in names}),
        'model.encoder.prefix_tokens': tuple(name for name in tokens if name in names),
    }
    return dict(
        config='configs/study/cifar10/mtssl_vit-p4_cifar10.py', options={**options, **more})


likelihoods = dict.fromkeys(six, 'classification') | dict(colour='laplace', paint='laplace')
runs = {name: run(names) for name, names in chosen.items()}
runs['four-uncertainty'] = run(
    four, **{
        'model.balancer': dict(
            type='UncertaintyWeights', likelihoods={name: likelihoods[name] for name in four})
    })
runs['four-mgda'] = run(four, **{'model.balancer': dict(type='ParetoWeights')})
del tasks, four, six, chosen, tokens, run, likelihoods

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
