# Mask R-CNN, Swin-T, COCO, 36 epochs: the recipe of Swin and MoBY, multi-scale 480-800.
_base_ = './mask-rcnn_swin-tiny_8xb2-1x_coco.py'

train_cfg = dict(max_epochs=36)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=36, by_epoch=True, milestones=[27, 33], gamma=0.1),
]
