# MAE, ViT-Ti with 6 blocks, on CamVid.
_base_ = [
    '../../../_base_/models/mae_vit.py',
    '../../_base_/camvid_pretrain.py',
    '../../../_base_/default_runtime.py',
]

model = dict(
    encoder=dict(arch=dict(base='tiny', depth=6), image_size=_base_.size),
    tasks=dict(masked=dict(neck=dict(width=128, depth=2, num_heads=4))))
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(by_epoch=False, interval=_base_.iterations))
log_processor = dict(by_epoch=False, window_size=20)
