# Mask R-CNN on the demo's scenes: the full-size path with a tiny ViT, light heads, few proposals.
_base_ = ['../transfer/_base_/mask-rcnn_vit.py', 'mmdet::_base_/default_runtime.py']

data_root = 'work_dirs/demo/data/'
metainfo = dict(
    classes=('ball', 'box', 'star', 'ring', 'leaf'),
    palette=[(220, 80, 40), (60, 110, 220), (240, 200, 40), (50, 170, 90), (160, 80, 190)])
iterations = 250
size = 128
channels = 96
# the heads learn in hundreds of iterations only with norms between their layers
norm = dict(type='GN', num_groups=32)

model = dict(
    backbone=dict(
        levels=4,
        # outputs of pretrained blocks are many times as large as those of random weights
        level_norms='plain',
        encoder=dict(
            arch=dict(base='tiny', depth=4), image_size=size, gradient_checkpointing=False)),
    neck=[
        dict(type='mmvitssl.ScalePyramid', norm_cfg=dict(type='BN')),
        dict(type='FPN', out_channels=channels, num_outs=4, norm_cfg=norm),
    ],
    rpn_head=dict(
        in_channels=channels, feat_channels=channels,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(
            _delete_=True, type='ConvFCBBoxHead', num_shared_convs=1, num_shared_fcs=1,
            in_channels=channels, conv_out_channels=channels, norm_cfg=norm, fc_out_channels=256,
            roi_feat_size=7, num_classes=5, reg_class_agnostic=True,
            bbox_coder=_base_.model.roi_head.bbox_head.bbox_coder,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(
            num_convs=2, in_channels=channels, conv_out_channels=channels, num_classes=5,
            norm_cfg=norm)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=100, max_per_img=50),
        rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=100, max_per_img=50), rcnn=dict(max_per_img=20)))

load = dict(type='LoadImageFromFile')
annotations = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)
resize = dict(type='Resize', scale=(size, size), keep_ratio=True)
train_end = [dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
test_end = dict(
    type='PackDetInputs',
    meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
train_dataloader = dict(
    batch_size=4, num_workers=1, persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset', data_root=data_root, metainfo=metainfo,
        ann_file='annotations/instances_train.json', data_prefix=dict(img='images/train/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[load, annotations, resize, *train_end]))
test_dataloader = dict(
    batch_size=1, num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset', data_root=data_root, metainfo=metainfo,
        ann_file='annotations/instances_val.json', data_prefix=dict(img='images/val/'),
        test_mode=True, pipeline=[load, resize, annotations, test_end]))
test_evaluator = dict(
    type='CocoMetric', ann_file=data_root + 'annotations/instances_val.json',
    metric=['bbox', 'segm'])
test_cfg = dict(type='TestLoop')

train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations + 1)
optim_wrapper = dict(
    type='OptimWrapper', constructor='mmvitssl.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=8e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(decay_rate=0.9, no_decay=('pos_embed', )))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=15),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=15),
]
default_hooks = dict(
    logger=dict(interval=5),
    checkpoint=dict(by_epoch=False, interval=iterations, max_keep_ckpts=1))
log_processor = dict(by_epoch=False, window_size=20)
randomness = dict(seed=0)
