# Mask R-CNN, ViT-B in ViTDet's form, by LoMaR's schedule: COCO four times over in each of 25
# epochs. LoMaR's own detector is another: mask-rcnn_vitdet-lomar-base_32xb2-25e_coco-1024px.py.
_base_ = ['../_base_/mask-rcnn_vitdet.py', '../_base_/coco_lsj.py']
# Weight decay spares what has one dimension (norms, biases), positions and relative positions. The
# published config means to spare biases by a misspelt key; its constructor spares them without.
optim_wrapper = dict(
    _delete_=True, type='AmpOptimWrapper', constructor='mmvitssl.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(decay_rate=0.7, no_decay=('pos_embed', 'rel_pos_h', 'rel_pos_w')))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=250),
    dict(type='MultiStepLR', begin=0, end=25, by_epoch=True, milestones=[22, 24], gamma=0.1),
]
