# Cascade Mask R-CNN, ViT-L in ViTDet's form, 100 epochs.
_base_ = './cascade-mask-rcnn_vitdet-base_64xb1-100e_coco-1024px.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='large'), drop_path=0.4)))

optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
