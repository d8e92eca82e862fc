# Linear probe of MoCo v2's repository, which has ResNets; nobody published a number of ViT with it.
_base_ = './linear-mocov2_vit-small_8xb128-cosine-100e_in1k.py'

model = dict(readout='cls')
test_view = [dict(type='Resize', of_image=8 / 7), dict(type='CenterCrop')]
test_pipeline = [
    _base_.load, dict(type='MultiView', views=[dict(transforms=test_view)]), _base_.pack
]
train_dataloader = dict(batch_size=32)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=30.0))
auto_scale_lr = dict(base_batch_size=256)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=100, milestones=[60, 80], gamma=0.1),
]
