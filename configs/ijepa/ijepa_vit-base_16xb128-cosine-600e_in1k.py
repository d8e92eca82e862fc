# I-JEPA, ViT-B/16, 600 epochs; published linear 72.9 (paper, table 1).
_base_ = [
    '../_base_/models/ijepa_vit.py',
    '../_base_/datasets/imagenet_ijepa.py',
    '../_base_/schedules/ijepa_300e.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=600)
