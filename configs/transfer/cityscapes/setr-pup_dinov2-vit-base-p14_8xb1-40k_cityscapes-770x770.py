# SETR-PUP on the published DINOv2, ViT-B/14, on crops of 770 pixels; no published result.
_base_ = './setr-pup_vit-base_8xb1-40k_cityscapes-768x768.py'
side = (770, 770)  # 55 patches
model = dict(
    data_preprocessor=dict(size=side),
    backbone=dict(encoder=dict(
        image_size=770, patch_size=14, layer_scale=1e-5, interpolate_offset=0.1)),
    test_cfg=dict(crop_size=side, stride=(513, 513)))
train_dataloader = dict(dataset=dict(pipeline=[
    *_base_.train_pipeline[:3],
    dict(type='RandomCrop', crop_size=side, cat_max_ratio=0.75),
    *_base_.train_pipeline[4:],
]))
