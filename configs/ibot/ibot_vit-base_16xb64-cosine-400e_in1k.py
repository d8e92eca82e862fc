# iBOT, ViT-B, 400 epochs with block masks; published kNN 77.1, linear 79.5, fine-tuned 84.0.
# The paper's appendix: learning rate 7.5e-4 x batch / 256, global crops from .32, clipping at .3,
# prototypes of length 1.
_base_ = './ibot_vit-small_16xb64-cosine-800e_in1k.py'

model = dict(
    encoder=dict(arch=dict(_delete_=True, base='base')),
    tasks=dict(distillation=dict(projector=dict(fixed_lengths=True))))

global_crop = dict(_base_.crop, scale=(0.32, 1.0))
local_crop = dict(_base_.crop, of_image=3 / 7, scale=(0.05, 0.32))
views = [
    dict(transforms=[global_crop, *_base_.global1[1:]]),
    dict(transforms=[global_crop, *_base_.global2[1:]]),
    dict(transforms=[local_crop, *_base_.local[1:]], num=10),
]
pipeline = [_base_.load, dict(type='MultiView', views=views), _base_.pack]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
optim_wrapper = dict(optimizer=dict(lr=3e-3), clip_each=0.3)
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.4),
    dict(type='FreezeHook', names=('projector.last_layer', ), epochs=3),
    dict(type='CollapseHook'), dict(type='ReduceLogsHook'),
]
train_cfg = dict(max_epochs=400)
