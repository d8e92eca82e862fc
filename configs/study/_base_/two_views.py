"""Two views of an image with colour changes, for contrastive methods on CIFAR-10."""
_base_ = './cifar10.py'
view1 = [_base_.crop, *_base_.colours, _base_.flip]
view2 = [_base_.crop, *_base_.colours, dict(type='Solarize', threshold=128, p=0.2), _base_.flip]
views = [dict(transforms=view1), dict(transforms=view2)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
