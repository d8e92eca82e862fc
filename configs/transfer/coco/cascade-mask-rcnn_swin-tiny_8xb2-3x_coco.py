# Cascade Mask R-CNN, Swin-T, COCO, 36 epochs: the recipe of Swin and MoBY, multi-scale 480-800.
_base_ = './cascade-mask-rcnn_swin-tiny_8xb2-1x_coco.py'
train_cfg = dict(max_epochs=36)
param_scheduler = [
    _base_.param_scheduler[0], dict(_base_.param_scheduler[1], end=36, milestones=[27, 33])]
