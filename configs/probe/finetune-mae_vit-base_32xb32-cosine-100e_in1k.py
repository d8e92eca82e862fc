# Fine-tuning of MAE, ViT-B; published 83.6 for 1600 epochs of pretraining.
_base_ = [
    './_base_/finetune_vit.py', './_base_/imagenet_finetune.py', './_base_/adamw_100e.py',
    '../_base_/default_runtime.py']
model = dict(encoder=dict(position='learned'))  # starts from the sine-cosine table
