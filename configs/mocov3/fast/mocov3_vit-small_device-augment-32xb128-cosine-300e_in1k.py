# MoCo v3, ViT-S: workers decode and crop, from JPEGs at reduced size where that is enough, and the
# device augments. The distribution of the views is that of the recipe.
_base_ = '../mocov3_vit-small_32xb128-cosine-300e_in1k.py'
views = [dict(transforms=_base_.view1[1:]), dict(transforms=_base_.view2[1:])]
model = dict(data_preprocessor=dict(augment=dict(type='DeviceAugment', views=views)))
load = dict(type='LoadImage', backend='opencv', reduce=1.5)
crops = dict(type='MultiView', views=[dict(transforms=[_base_.crop], num=2)])
train_dataloader = dict(dataset=dict(pipeline=[load, crops, _base_.pack]))
