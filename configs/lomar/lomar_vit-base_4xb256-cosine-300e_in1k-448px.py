# LoMaR at 448 x 448 pixels with 9 windows an image, 300 epochs (figure 4).
_base_ = './lomar_vit-base_4xb256-cosine-300e_in1k-384px.py'

view = [
    dict(type='RandomResizedCrop', size=448, scale=(0.2, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', p=0.5),
]
model = dict(
    encoder=dict(image_size=448), tasks=dict(masked=dict(masking=dict(views=9))))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='MultiView', views=[dict(transforms=view)]),
            dict(type='PackViews'),
        ]))
