# SimSiam, ViT-S; its paper has no Vision Transformer.
_base_ = [
    '../_base_/models/simsiam_vit.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/shared_300e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=128)
