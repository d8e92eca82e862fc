# DINOv2 with four registers (Darcet et al., 2024), ViT-L/14 on ImageNet-22K: SwiGLU, separate heads
# and Sinkhorn-Knopp (configs/train/vitl14.yaml with num_register_tokens: 4, antialias, offset 0).
# Published without registers: kNN 82.0, linear 84.5, in 3.3 days on 96 A100.
_base_ = './dinov2_vit-large_32xb64-cosine-125k_in1k.py'

projector = dict(
    type='PrototypeMLP', prototypes=131072, hidden_channels=2048, num_layers=3, fixed_lengths=False)
teacher = dict(centering='sinkhorn_knopp')
model = dict(
    encoder=dict(
        patch_size=14, mlp='swiglu', drop_path=0.4, interpolate_offset=0.0,
        interpolate_antialias=True,
        prefix_tokens=('register_1', 'register_2', 'register_3', 'register_4')),
    target=dict(momentum=0.994),
    tasks=dict(
        distillation=dict(projector=dict(**projector, bottleneck=384), head=teacher),
        masked=dict(
            neck=dict(_delete_=True, type='PatchProjector',
                      projector=dict(**projector, bottleneck=256)),
            target=teacher)))

# 96 processes x 32 = 3072
train_dataloader = dict(batch_size=32, dataset=dict(root='data/imagenet22k'))
# 2e-4 x sqrt(3072 / 1024)
optim_wrapper = dict(optimizer=dict(lr=3.464e-4), paramwise_cfg=dict(decay_rate=1.0))
auto_scale_lr = dict(base_batch_size=3072)
train_cfg = dict(max_iters=625000)
param_scheduler = [dict(_base_.warmup, end=100000), dict(_base_.cosine, begin=100000)]
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.2),
    dict(type='FreezeHook', names=('projector.last_layer', ), epochs=1),
    dict(type='CollapseHook'), dict(type='ReduceLogsHook'),
]
