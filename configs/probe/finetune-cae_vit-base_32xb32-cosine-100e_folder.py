# Fine-tuning of CAE, ViT-B, on images in sub-folders of their classes: Food-101, Clipart and Sketch of
# the paper's table 4, whose recipe is not said. This is that of ImageNet, for batches of 1024. With
# `--data FOLDER` the number of classes follows from FOLDER/train.
_base_ = './finetune-cae_vit-base_32xb128-cosine-100e_in1k.py'
model = dict(head=dict(num_classes=101))
train_dataloader = dict(batch_size=32, dataset=dict(root='data/food-101/train'))
val_dataloader = test_dataloader = dict(dataset=dict(root='data/food-101/val'))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
auto_scale_lr = dict(base_batch_size=1024)
param_scheduler = [dict(_base_.linear, end=5), dict(_base_.cosine, eta_min_ratio=5e-4, begin=5)]
