"""As imagenet_cae.py, with BEiT's colour jitter before flip and crop, the same for both views."""

_base_ = './imagenet_cae.py'

jitter = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)
views = [
    dict(transforms=[jitter, *_base_.view]),
    dict(transforms=[jitter, *_base_.tokenizer_view], same_as=0),
]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

train_dataloader = dict(dataset=dict(pipeline=pipeline))
