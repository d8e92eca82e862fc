# SimCLR with its published recipe for ResNet: strong colours, 128 channels, LARS of 0.3 x 4096 / 256.
_base_ = [
    '../_base_/models/simclr_vit.py',
    '../_base_/datasets/imagenet_simclr_strong.py',
    '../_base_/schedules/shared_300e.py',
    '../_base_/default_runtime.py',
]

model = dict(tasks=dict(contrastive=dict(projector=dict(out_channels=128))))

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='LARS', lr=4.8, momentum=0.9, weight_decay=1e-6),
    **_base_.spared)
param_scheduler = [dict(_base_.warmup, end=10), dict(_base_.cosine, begin=10)]
