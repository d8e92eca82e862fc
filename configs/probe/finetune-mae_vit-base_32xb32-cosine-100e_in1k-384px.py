# Fine-tuning of MAE, ViT-B, at 384 pixels, pretrained at 224; published by LoMaR 84.8.
_base_ = [
    './_base_/finetune_vit.py', './_base_/imagenet_finetune.py', './_base_/adamw_100e.py',
    '../_base_/default_runtime.py']
model = dict(encoder=dict(position='learned', image_size=384))
# tested on the whole shorter side
test_view = [dict(type='Resize', interpolation='bicubic'), dict(type='CenterCrop')]
test_pipeline = [
    _base_.load, dict(type='MultiView', views=[dict(transforms=test_view)]), _base_.pack]
val_dataloader = test_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
