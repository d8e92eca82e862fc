"""Few labels, dense: pretrained on all of CamVid's images, fine-tuned on 20, 40 and 367 of them.

Data: ``camvid/`` under the data folder, with the regions of tools/data/camvid_regions.py.
"""

question = 'Does pretraining on all of CamVid pay where few of its images have labels?'
page = 'camvid.md'
baseline = 'random'
seeds = (0, 1, 2)
flops = 32e12
precision = 'bf16'
files = {'train_dataloader.dataset.root': 'camvid/images'}

configs = 'configs/transfer/camvid/pretrain/'
runs = {
    'random': dict(
        config=configs + 'mae_vit-tiny-6_1xb32-200_camvid.py', iterations=0, label='random weights'),
    'mae': dict(config=configs + 'mae_vit-tiny-6_1xb32-200_camvid.py', label='MAE'),
    'repre-mocov3': dict(
        config=configs + 'repre-mocov3_vit-tiny-6_1xb32-200_camvid.py', label='RePre on MoCo v3'),
    'lomar': dict(config=configs + 'lomar_vit-tiny-6_1xb32-200_camvid.py', label='LoMaR'),
}
del configs

segmentation = dict(
    config='configs/transfer/camvid/upernet_vit-tiny-6_camvid.py',
    files={
        'train_dataloader.dataset.data_root': 'camvid/',
        'test_dataloader.dataset.data_root': 'camvid/',
    },
    # in a few hundred iterations mmseg's small weights hide what an encoder is worth
    options={'model.decode_head.init_cfg': None, 'model.auxiliary_head.init_cfg': None},
    metrics=['mIoU', 'aAcc'])
detection = dict(
    config='configs/transfer/camvid/mask-rcnn_vit-tiny-6_camvid-regions.py',
    files={
        'train_dataloader.dataset.data_root': 'camvid/',
        'test_dataloader.dataset.data_root': 'camvid/',
        'test_evaluator.ann_file': 'camvid/annotations/regions_test.json',
    },
    metrics=['coco/bbox_mAP_50', 'coco/bbox_mAP', 'coco/segm_mAP_50'])
# frames of a video follow each other: labelled images are spread evenly, as are tested ones
twenty = {'train_dataloader.dataset.indices': list(range(0, 360, 18))}
forty = {'train_dataloader.dataset.indices': list(range(0, 360, 9))}
short = {'train_cfg.max_iters': 400, 'test_dataloader.dataset.indices': list(range(0, 233, 2))}
long = {'train_cfg.max_iters': 800}
finetune = {
    'upernet_20': dict(segmentation, options={**segmentation['options'], **twenty, **short}),
    'upernet_40': dict(segmentation, options={**segmentation['options'], **forty, **short}),
    'mask-rcnn_40': dict(detection, options={**forty, **long}),
    'upernet_367': dict(segmentation, options={**segmentation['options'], **short}),
    'mask-rcnn_367': dict(detection, options=long),
}
del segmentation, detection, twenty, forty, short, long
