# BYOL by its repository's recipe for 300 epochs of ResNet-50: its crops, its order, LARS. Nobody
# published a number of ViT with it.
_base_ = [
    '../_base_/models/byol_vit.py',
    '../_base_/datasets/imagenet_byol.py',
    '../_base_/schedules/mocov3_300e.py',
    '../_base_/default_runtime.py',
]

# 0.3 x 4096 / 256
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='LARS', lr=4.8, momentum=0.9, weight_decay=1e-6),
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0))
param_scheduler = [
    dict(_base_.param_scheduler[0], end=10),
    dict(_base_.param_scheduler[1], begin=10),
]
