# DINOv2 on CIFAR-10: iBOT's crops, Sinkhorn-Knopp, separate heads, KoLeo, layer scale, registers.
_base_ = './ibot_vit-p4_cifar10.py'

teacher = dict(centering='sinkhorn_knopp')
model = dict(
    encoder=dict(
        prefix_tokens=('register_1', 'register_2'), layer_scale=1e-5, initialisation='dinov2'),
    tasks=dict(
        distillation=dict(head=teacher),
        masked=dict(
            masking=dict(_delete_=True, type='StratifiedMasking'),
            neck=dict(
                _delete_=True, type='PatchProjector',
                projector=dict(
                    type='PrototypeMLP', prototypes=1024, hidden_channels=512,
                    bottleneck=128, fixed_lengths=False)),
            target=dict(center_over='masked', **teacher)),
        koleo=dict(type='KoLeo', views=(0, 1), masked_by='masked')),
    balancer=dict(type='FixedWeights', weights=dict(koleo=0.1)))
