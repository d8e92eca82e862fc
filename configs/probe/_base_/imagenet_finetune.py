"""ImageNet with its labels: crops, flips and RandAugment; batches are mixed by the model."""
_base_ = './imagenet_linear.py'
train_view = [*_base_.train_view, dict(type='RandAugment', policy='rand-m9-mstd0.5-inc1')]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=train_view)]), _base_.pack]

# 32 processes x 32 = 1024
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=pipeline))
