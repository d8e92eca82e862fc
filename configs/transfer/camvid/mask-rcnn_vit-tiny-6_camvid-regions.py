# Mask R-CNN, ViT-Ti with 6 blocks, connected regions of CamVid: minutes on a CPU core.
# The annotations are those of tools/data/camvid_regions.py.
_base_ = '../../demo/mask-rcnn_vit-tiny_demo.py'

data_root = 'data/camvid/'
metainfo = dict(
    classes=('car', 'pedestrian', 'bicyclist'),
    palette=[(64, 0, 128), (64, 64, 0), (0, 128, 192)])
crop = (192, 256)
iterations = 150

model = dict(
    backbone=dict(
        levels=(1 / 3, 1 / 2, 2 / 3, 1.0),
        encoder=dict(arch=dict(_delete_=True, base='tiny', depth=6), image_size=crop)),
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(bbox_head=dict(num_classes=3), mask_head=dict(num_classes=3)),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=50)))

train_pipeline = [
    _base_.load, _base_.annotations,
    dict(type='RandomResize', scale=(480, 360), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop, allow_negative_crop=True),
    *_base_.train_end,
]
resize = dict(type='Resize', scale=(480, 360), keep_ratio=True)
test_pipeline = [_base_.load, resize, _base_.annotations, _base_.test_end]
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        data_root=data_root, metainfo=metainfo, ann_file='annotations/regions_train.json',
        pipeline=train_pipeline))
test_dataloader = dict(dataset=dict(
    data_root=data_root, metainfo=metainfo, ann_file='annotations/regions_test.json',
    data_prefix=dict(img='images/test/'),
    pipeline=test_pipeline))
test_evaluator = dict(ann_file=data_root + 'annotations/regions_test.json')

train_cfg = dict(max_iters=iterations, val_interval=iterations + 1)
default_hooks = dict(checkpoint=dict(interval=iterations))
auto_scale_lr = dict(base_batch_size=2)
