# LoMaR at 384 x 384 pixels with 9 windows per image, 1600 epochs: pretraining of the COCO model
# (table 2; 51.6 / 45.9).
_base_ = './lomar_vit-base_4xb256-cosine-300e_in1k-384px.py'
model = dict(tasks=dict(masked=dict(masking=dict(views=9))))
train_cfg = dict(max_epochs=1600)
param_scheduler = [dict(_base_.warmup, end=40), dict(_base_.cosine, begin=40)]
