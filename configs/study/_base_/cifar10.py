"""CIFAR-10 for studies: images of 32 pixels, a small ViT with patches of 4, one optimizer for all.

Every recipe of a study shares this file, so that only the method differs. The study sets the number
of iterations; the schedule ends with them.
"""
_base_ = '../../_base_/short_run.py'

arch = dict(embed_dim=128, depth=4, num_heads=4)
# in place of the encoder of a method's own recipe
vit_p4 = dict(encoder=dict(arch=dict(_delete_=True, **arch), image_size=32, patch_size=4))
preprocessor = dict(type='ViewPreprocessor', mean=(0.491, 0.482, 0.447), std=(0.247, 0.244, 0.262))

crop = dict(type='RandomResizedCrop', scale=(0.2, 1.0))
flip = dict(type='RandomFlip', p=0.5)
colours = [
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
]
load, pack = dict(type='LoadImage', backend='opencv'), dict(type='PackViews')
pipeline = [load, dict(type='MultiView', views=[dict(transforms=[crop, flip])]), pack]
train_dataloader = dict(
    batch_size=128,
    dataset=dict(type='PackedImages', file='data/cifar10_train.npz', pipeline=pipeline))
optim_wrapper = dict(type='AutocastOptimWrapper', optimizer=dict(fused=True))
train_cfg = dict(max_iters=4000)
param_scheduler = [dict(_base_.warmup, end=200), dict(_base_.cosine, begin=200)]
default_hooks = dict(checkpoint=dict(interval=250, max_keep_ckpts=1))
visualizer = dict(vis_backends=[dict(type='LocalVisBackend')])
