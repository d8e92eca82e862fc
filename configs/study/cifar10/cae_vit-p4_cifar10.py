# CAE on CIFAR-10 with ids of a tokenizer of its own, which dvae_cifar10.py trains.
_base_ = './cae-rgb_vit-p4_cifar10.py'
model = dict(tasks=dict(context=dict(
    target=dict(
        _delete_=True, type='TokenTarget', checkpoint='data/tokenizers/dvae_cifar10.safetensors',
        vocabulary=512),
    head=dict(_delete_=True, type='TokenLoss'))))
views = [
    dict(transforms=[_base_.flip, _base_.crop]),
    dict(transforms=[_base_.flip, dict(_base_.crop, per_patch=4)], same_as=0),
]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
