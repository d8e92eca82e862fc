# Mask R-CNN on the demo's scenes: three levels of a ViT of 3 blocks with patches of 8.
_base_ = './mask-rcnn_vit-tiny_demo.py'

iterations = 200
size = 96
strides = [4, 8, 16]

model = dict(
    backbone=dict(
        levels=3,
        encoder=dict(
            arch=dict(_delete_=True, embed_dim=96, depth=3, num_heads=3), image_size=size,
            patch_size=8)),
    neck=[
        dict(type='mmvitssl.ScalePyramid', scales=(2.0, 1.0, 0.5), norm_cfg=dict(type='BN')),
        dict(type='FPN', out_channels=_base_.channels, num_outs=3, norm_cfg=_base_.norm),
    ],
    rpn_head=dict(anchor_generator=dict(strides=strides)),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=strides),
        mask_roi_extractor=dict(featmap_strides=strides)))

resize = dict(type='Resize', scale=(size, size), keep_ratio=True)
train_pipeline = [_base_.load, _base_.annotations, resize, *_base_.train_end]
test_pipeline = [_base_.load, resize, _base_.annotations, _base_.test_end]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
train_cfg = dict(max_iters=iterations, val_interval=iterations + 1)
default_hooks = dict(checkpoint=dict(interval=iterations))
