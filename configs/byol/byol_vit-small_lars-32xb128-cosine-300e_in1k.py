# BYOL by its repository's recipe for 300 epochs of ResNet-50: LARS, its crops and their order. Nobody
# published a number of ViT with it.
_base_ = './byol_vit-small_32xb128-cosine-300e_in1k.py'

# one bicubic draw, clipped to the image, and the flip before the colours
start = [
    dict(type='RandomResizedCrop', scale=(0.08, 1.0), interpolation='bicubic', clip=True),
    dict(type='RandomFlip', p=0.5),
]
views = [dict(transforms=start + _base_.view1[1:-1]), dict(transforms=start + _base_.view2[1:-1])]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))

# 0.3 x 4096 / 256
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='LARS', lr=4.8, momentum=0.9, weight_decay=1e-6),
    **_base_.undecayed_norms)
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
