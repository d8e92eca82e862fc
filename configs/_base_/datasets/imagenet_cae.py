"""ImageNet, without its labels: the encoder's view, and the same crop at half size for the tokenizer."""
_base_ = './imagenet.py'

view = [
    dict(type='RandomFlip', p=0.5),
    dict(type='RandomResizedCrop', scale=(0.08, 1.0), interpolation='bicubic'),
]
# 112 pixels give DALL-E's tokenizer, of stride 8, one id for each 16 x 16 patch of 224
tokenizer_view = [
    dict(type='RandomFlip', p=0.5),
    dict(type='RandomResizedCrop', per_patch=8, scale=(0.08, 1.0), interpolation='lanczos'),
]
views = [dict(transforms=view), dict(transforms=tokenizer_view, same_as=0)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]

# 8 processes x 256 = 2048
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=pipeline))
