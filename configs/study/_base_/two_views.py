"""Two views of an image with colour changes, for contrastive methods on CIFAR-10."""
_base_ = './cifar10.py'

view1 = [_base_.crop, *_base_.colour, _base_.flip]
view2 = [_base_.crop, *_base_.colour, dict(type='Solarize', threshold=128, p=0.2), _base_.flip]
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage', backend='opencv'),
            dict(type='MultiView', views=[dict(transforms=view1), dict(transforms=view2)]),
            dict(type='PackViews'),
        ]))
