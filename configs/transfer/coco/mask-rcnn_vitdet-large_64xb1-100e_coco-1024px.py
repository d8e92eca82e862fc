# Mask R-CNN, ViT-L in ViTDet's form, 100 epochs.
_base_ = './mask-rcnn_vitdet-base_64xb1-100e_coco-1024px.py'

model = dict(
    backbone=dict(
        levels=(23, ),
        global_blocks=(5, 11, 17, 23),
        encoder=dict(arch=dict(base='large'), drop_path=0.4)),
    neck=dict(in_channels=1024))

optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
