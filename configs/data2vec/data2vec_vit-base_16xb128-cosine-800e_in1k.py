# data2vec-style (Baevski et al., 2022, section 4.1), ViT-B, 800 epochs: 60 % masked in blocks, the
# mean of the teacher's last 6 blocks, each layer-normalised, smooth L1 with beta 2. The teacher's
# block outputs are averaged; the official code averages what their MLPs add.
_base_ = [
    '../_base_/models/beit_vit.py', '../_base_/datasets/imagenet_mae.py',
    '../_base_/schedules/beit_800e.py', '../_base_/default_runtime.py']

model = dict(
    encoder=dict(layer_scale=1e-4, drop_path=0.25),
    target=dict(momentum=0.9998, end=0.99999, schedule='linear', when='after_step', drop_path=0.0),
    tasks=dict(masked=dict(
        masking=dict(ratio=120 / 196),
        target=dict(_delete_=True, type='FeatureTarget', top=0.5, normalise=True),
        head=dict(_delete_=True, type='LatentLoss', distance='smooth_l1', beta=2.0))))
# 16 processes x 128 = 2048
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
custom_hooks = [dict(type='MomentumUpdateHook'), dict(type='ReduceLogsHook')]
