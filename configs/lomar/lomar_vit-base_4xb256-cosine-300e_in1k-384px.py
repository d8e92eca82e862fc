# LoMaR at 384 x 384 pixels with 6 windows an image, 300 epochs (figure 4).
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'

view = [
    dict(type='RandomResizedCrop', scale=(0.2, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', p=0.5),
]
model = dict(
    encoder=dict(image_size=384), tasks=dict(masked=dict(masking=dict(views=6))))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='MultiView', views=[dict(transforms=view)]),
            dict(type='PackViews'),
        ]))

train_cfg = dict(max_epochs=300)
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
