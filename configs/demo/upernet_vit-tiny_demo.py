# UperNet on the demo's scenes: the full-size path with a tiny ViT and light heads.
_base_ = [
    '../transfer/_base_/upernet_vit.py', '../transfer/_base_/segmentation_minutes.py',
    'mmseg::_base_/default_runtime.py']

data_root = 'work_dirs/demo/data/'
metainfo = dict(
    classes=('background', 'ball', 'box', 'star', 'ring', 'leaf'),
    palette=[(128, 128, 128), (220, 80, 40), (60, 110, 220), (240, 200, 40), (50, 170, 90),
             (160, 80, 190)])
iterations = 300
size = 128
channels = 64

model = dict(
    data_preprocessor=dict(size=(size, size)),
    backbone=dict(
        levels=4,
        # outputs of pretrained blocks are many times as large as those of random weights
        level_norms='plain',
        encoder=dict(arch=dict(base='tiny', depth=4), image_size=size)),
    neck=dict(norm_cfg=dict(type='BN')),
    decode_head=dict(channels=channels, num_classes=6, norm_cfg=dict(type='BN')),
    auxiliary_head=dict(channels=32, num_classes=6, norm_cfg=dict(type='BN')),
    test_cfg=dict(_delete_=True, mode='whole'))

load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=True)]
flip, pack = dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')
scenes = dict(data_root=data_root, metainfo=metainfo, reduce_zero_label=True)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        scenes,
        data_prefix=dict(img_path='images/train', seg_map_path='masks/train'),
        pipeline=[*load, flip, pack]))
test_dataloader = dict(dataset=dict(
    scenes,
    data_prefix=dict(img_path='images/val', seg_map_path='masks/val'),
    pipeline=[*load, pack]))

train_cfg = dict(max_iters=iterations, val_interval=iterations + 1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=15),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=15),
]
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=iterations))
log_processor = dict(window_size=20)
