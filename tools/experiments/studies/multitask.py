"""The multi-task ViT, never verified by anyone: which tasks help, which hurt, which weights."""

_base_ = '_base_/cifar10.py'
question = 'Do tasks in one forward help each other on CIFAR-10 at equal compute?'
page = 'multitask.md'
baseline = 'contrast'

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


hooks = [dict(type='ReduceLogsHook'), dict(type='GradientCosineHook', interval=25)]


def run(names, **more):
    """The recipe with some of the tasks."""
    options = {
        'model.tasks': dict(_delete_=True, **{name: tasks[name] for name in names}),
        'model.encoder.prefix_tokens': tuple(name for name in tokens if name in names),
    }
    if len(names) > 1:
        options['custom_hooks'] = hooks
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

# Without harmonised inputs: each task alters whole images of its own (section 1 of the paper). Five
# views per image in place of two: at equal compute about 0.4 times the steps.
view = [
    dict(type='RandomResizedCrop', scale=(0.2, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomFlip', p=0.5),
]
naive = run(four)
naive['options'] = {
    **naive['options'],
    'model.tasks.rotation': dict(tasks['rotation'], views=(2, )),
    'model.tasks.colour': dict(tasks['colour'], views=(3, ), patches=64),
    'model.tasks.place': dict(tasks['place'], views=(4, ), pairs=4),
    'train_dataloader.dataset.pipeline.1.views': [dict(transforms=view, num=5)],
}
runs['four-naive'] = dict(naive, label='four, each on a view of its own, wholly altered')
del tasks, four, six, chosen, tokens, run, likelihoods, hooks, view, naive
