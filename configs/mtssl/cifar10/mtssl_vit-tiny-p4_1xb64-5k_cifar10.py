# Multi-task ViT-Ti/4 on CIFAR-10: 64 patches of 4 x 4; tasks to choose from, all on both views.
# tools/experiments/studies/multitask.py compares choices of them with a smaller encoder.
_base_ = ['../../_base_/models/mtssl_cifar10_tasks.py', '../../_base_/short_run.py']

model = dict(
    type='Pretrainer',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.491, 0.482, 0.447), std=(0.247, 0.244, 0.262)),
    encoder=dict(
        type='ViT', arch=dict(base='tiny'), image_size=32, patch_size=4, position='learned',
        prefix_tokens=('contrast', 'rotation')),
    tasks=dict(
        contrast=_base_.contrast, rotation=_base_.rotation, colour=_base_.colour,
        place=_base_.place))

view = [
    dict(type='RandomResizedCrop', scale=(0.2, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='RandomFlip', p=0.5),
]
views = dict(type='MultiView', views=[dict(transforms=view, num=2)])
pipeline = [dict(type='LoadImage'), views, dict(type='PackViews')]
train_dataloader = dict(
    batch_size=64,
    dataset=dict(type='PackedImages', file='data/cifar10_train.npz', pipeline=pipeline))
train_cfg = dict(max_iters=5000)
param_scheduler = [dict(_base_.warmup, end=250), dict(_base_.cosine, begin=250)]
default_hooks = dict(checkpoint=dict(interval=5000, max_keep_ckpts=1))
