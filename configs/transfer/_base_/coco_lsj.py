"""COCO in squares of 1024: large-scale jitter .1 to 2 and a fixed crop; tested with the long side 1024.

Images that are smaller are padded by the model's data preprocessor, after normalisation.
"""
_base_ = 'mmdet::common/lsj-100e_coco-instance.py'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
