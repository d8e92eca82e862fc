# Fine-tuning of MAE, ViT-B, at 384 pixels, pretrained at 224; published by LoMaR 84.8.
_base_ = [
    './_base_/finetune_vit.py',
    './_base_/imagenet_finetune_384.py',
    './_base_/adamw_100e.py',
    '../_base_/default_runtime.py',
]

model = dict(encoder=dict(position='learned', image_size=384))
