"""DINOv2 (Oquab et al., 2024) as its code trains ViT-L/16 on ImageNet: shared heads, centred."""

_base_ = './vit.py'

model = dict(
    encoder=dict(
        arch=dict(base='large'), position='learned', interpolate_offset=0.1, mask_token=True,
        layer_scale=1e-5, initialisation='dinov2', drop_path=0.3, uniform_drop_path=True),
    target=dict(momentum=0.992, end=1.0, schedule='cosine', when='after_step', drop_path=0.0),
    tasks=dict(
        distillation=dict(
            type='SelfDistillation',
            global_views=(0, 1),
            local_views=(2, 3, 4, 5, 6, 7, 8, 9),
            masked_by='masked',
            projector=dict(
                type='PrototypeMLP', prototypes=65536, hidden_channels=2048,
                bottleneck=256, num_layers=3, fixed_lengths=False),
            head=dict(
                type='DINOLoss', student_temperature=0.1,
                teacher_temperature=0.07, warmup_temperature=0.04, warmup_iters=37500)),
        masked=dict(
            type='MaskedModeling',
            views=(0, 1),
            average='images',
            masking=dict(type='StratifiedMasking', share=0.5, ratio=(0.1, 0.5)),
            neck=dict(type='PatchProjector', projector='distillation'),
            target=dict(
                type='PrototypeTarget', center_over='masked',
                teacher_temperature=0.07, warmup_temperature=0.04, warmup_iters=37500),
            head=dict(type='DistributionLoss', student_temperature=0.1)),
        koleo=dict(type='KoLeo', views=(0, 1), masked_by='masked')),
    balancer=dict(type='FixedWeights', weights=dict(koleo=0.1)))
