# SimCLR with its published recipe for ResNet: strong colours, 128 channels, LARS of 0.3 x 4096 / 256.
_base_ = './simclr_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(contrastive=dict(projector=dict(out_channels=128))))
strong = dict(type='ColorJitter', brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8)
view1 = view2 = [*_base_.view1[:2], strong, *_base_.view1[3:]]
views = [dict(transforms=view1), dict(transforms=view2)]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='LARS', lr=4.8, momentum=0.9, weight_decay=1e-6),
    **_base_.undecayed_norms)
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
