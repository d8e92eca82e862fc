# Mask R-CNN, ViT-L, COCO, 12 epochs. Layer decay is the paper's .8; CAE's config file has .85.
_base_ = './mask-rcnn_vit-base_16xb2-1x_coco.py'
model = dict(backbone=dict(encoder=dict(arch=dict(base='large'))))

optim_wrapper = dict(optimizer=dict(lr=2e-4), paramwise_cfg=dict(decay_rate=0.8))
