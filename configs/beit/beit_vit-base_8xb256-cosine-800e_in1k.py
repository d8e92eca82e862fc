# BEiT, ViT-B, 800 epochs on ImageNet-1K; fine-tuned top-1 83.2.
_base_ = [
    '../_base_/models/beit_vit.py', '../_base_/datasets/imagenet_cae.py',
    '../_base_/schedules/beit_800e.py', '../_base_/default_runtime.py']
# before flip and crop, the same for both views
jitter = dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)
views = [
    dict(transforms=[jitter, *_base_.view]),
    dict(transforms=[jitter, *_base_.tokenizer_view], same_as=0),
]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
# the class token is not decayed; the mask token and the bias table are, as published
optim_wrapper = dict(paramwise_cfg=dict(no_decay=('cls_token', )))
