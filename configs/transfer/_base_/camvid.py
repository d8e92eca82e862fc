"""CamVid in ADE20K's layout, and a fine-tuning on it that takes minutes on one CPU core.

Files: ``data/camvid/images/{train,val,test}/*.jpg``, ``annotations/{train,val,test}/*.png`` with
the indices of the classes below, 255 ignored; 480x360 pixels.
"""
_base_ = './segmentation_minutes.py'

data_root = 'data/camvid/'
metainfo = dict(
    classes=('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car',
             'pedestrian', 'bicyclist'),
    palette=[(128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222),
             (128, 128, 0), (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0),
             (0, 128, 192)])
crop = (192, 256)
iterations = 200

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(480, 360), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        data_root=data_root, metainfo=metainfo,
        data_prefix=dict(img_path='images/train', seg_map_path='annotations/train'),
        pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(
    data_root=data_root, metainfo=metainfo,
    data_prefix=dict(img_path='images/test', seg_map_path='annotations/test')))

train_cfg = dict(max_iters=iterations, val_interval=iterations + 1)
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.85))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=20),
]
default_hooks = dict(checkpoint=dict(interval=iterations))
