# LoMaR at 384 x 384 pixels with 6 windows an image, 300 epochs (figure 4).
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(encoder=dict(image_size=384), tasks=dict(masked=dict(masking=dict(views=6))))
# decoded by Pillow
pipeline = [dict(type='LoadImage'), *_base_.pipeline[1:]]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
train_cfg = dict(max_epochs=300)
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
