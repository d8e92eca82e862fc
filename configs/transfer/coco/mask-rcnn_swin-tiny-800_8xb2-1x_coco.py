# Mask R-CNN, Swin-T, COCO, 12 epochs, at one scale of 800 / 1333 as RePre's text says. The numbers
# of its table 2 equal those of the multi-scale recipe, mask-rcnn_swin-tiny_8xb2-1x_coco.py.
_base_ = './mask-rcnn_swin-tiny_8xb2-1x_coco.py'
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]))
