# SimCLR, ViT-S, as MoCo v3's authors ran it; linear top-1 69.0.
_base_ = [
    '../_base_/models/simclr_vit.py', '../_base_/datasets/imagenet_mocov3.py',
    '../_base_/schedules/shared_300e.py', '../_base_/default_runtime.py']

# SimCLR's augmentation in MoCo v3's paper, twice
view1 = view2 = [
    dict(type='RandomResizedCrop', scale=(0.08, 1.0)),
    dict(type='RandomFlip', p=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
    dict(type='RandomGrayscale', p=0.2),
    dict(type='GaussianBlur', sigma=(0.1, 2.0), p=0.5),
]
views = [dict(transforms=view1), dict(transforms=view2)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
# 32 processes x 128 = 4096
train_dataloader = dict(dataset=dict(pipeline=pipeline))

# 2e-4 x 4096 / 256
optim_wrapper = dict(optimizer=dict(lr=3.2e-3))
