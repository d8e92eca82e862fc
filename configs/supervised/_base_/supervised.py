"""A classifier trained from scratch on ImageNet: mixup, cutmix, erasing, RandAugment, smoothing."""
_base_ = [
    '../../probe/_base_/finetune_vit.py', '../../probe/_base_/imagenet_finetune.py',
    '../../probe/_base_/adamw_100e.py', '../../_base_/default_runtime.py']
model = dict(readout='cls', pooled_norm=None, head=dict(std=0.02))
# 8 processes x 128 = 1024
train_dataloader = dict(batch_size=128)
train_cfg = dict(max_epochs=300)
