# MoCo v2, ViT-S; linear top-1 71.6 as RePre reports it.
_base_ = [
    '../_base_/models/mocov2_vit.py',
    '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/mocov3_300e.py',
    '../_base_/default_runtime.py',
]

# 1.5e-4 x 1024 / 256: the batch of all processes must divide the queue
optim_wrapper = dict(optimizer=dict(lr=6e-4))
auto_scale_lr = dict(base_batch_size=1024)
