# Go on with iBOT from DINOv2's published ViT-S/14 on images of your own:
#
#   mmvitssl train ...this config... --init dinov2-vit-small
#       --cfg-options train_dataloader.dataset.root=IMAGES
#
# New heads learn alone for the first epoch; then the encoder moves, its first blocks least.
_base_ = '../ibot/ibot_vit-small_16xb64-cosine-800e_in1k.py'

model = dict(
    encoder=dict(patch_size=14, layer_scale=1e-5, drop_path=0.0),
    target=dict(momentum=0.999))
train_dataloader = dict(batch_size=32, dataset=dict(root='data/images'))
# 8 processes x 32 = 256
optim_wrapper = dict(optimizer=dict(lr=5e-5), paramwise_cfg=dict(decay_rate=0.8))
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(max_epochs=20)
param_scheduler = [
    dict(_base_.warmup, start_factor=0.0, end=2), dict(_base_.cosine, eta_min=1e-7, begin=2)]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.1),
    dict(type='FreezeHook', names=('encoder.', ), epochs=1),
    dict(type='CollapseHook'), dict(type='ReduceLogsHook'),
]
