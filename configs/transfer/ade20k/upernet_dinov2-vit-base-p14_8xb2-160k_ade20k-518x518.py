# UperNet on the published DINOv2, ViT-B/14, on crops of 518 pixels; no published result.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'

side = (518, 518)  # 37 patches, as DINOv2's position table
model = dict(
    data_preprocessor=dict(size=side),
    backbone=dict(encoder=dict(
        image_size=518, patch_size=14, layer_scale=1e-5, interpolate_offset=0.1)),
    test_cfg=dict(crop_size=side, stride=(345, 345)))
scale = (2072, 518)
train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.train_pipeline[:2],
    dict(_base_.train_pipeline[2], scale=scale),
    dict(type='RandomCrop', crop_size=side, cat_max_ratio=0.75),
    *_base_.train_pipeline[4:],
]))
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=scale),
    *_base_.test_pipeline[2:],
]
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
