# Mask R-CNN, ViT-B, COCO, 12 epochs: CAE's published recipe (multi-scale 480-800, layer decay .75).
# Positions are those of the checkpoint, resized to 42 x 68 and frozen. Weight decay spares norms and
# biases; the class token is decayed, as by CAE, whose name test misses it behind the prefix.
_base_ = [
    '../_base_/mask-rcnn_vit.py',
    '../_base_/coco_multiscale.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        encoder=dict(
            image_size=(672, 1088),
            position='sincos_row_first',
            interpolate_offset=0.1,
            drop_path=0.2)))

optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    constructor='mmvitssl.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(decay_rate=0.75, no_decay=('pos_embed', )))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[9, 11], gamma=0.1),
]
auto_scale_lr = dict(enable=True, base_batch_size=32)
