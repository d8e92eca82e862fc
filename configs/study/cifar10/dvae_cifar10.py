# A discrete VAE for CAE's token targets: one of 512 ids for each 4 x 4 pixels of CIFAR-10.
_base_ = '../_base_/cifar10.py'
model = dict(
    type='DiscreteVAE', vocabulary=512, hidden=32, codes=32, blocks=1, stride=4, kl_weight=0.01)
view = [dict(_base_.crop, size=32), _base_.flip]
pipeline = [_base_.load, dict(type='MultiView', views=[dict(transforms=view)]), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
# float32: straight categories do not come out of half-precision logits reliably
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(_delete_=True))  # it has no balancer, and nothing is decayed
train_cfg = dict(max_iters=1000)
