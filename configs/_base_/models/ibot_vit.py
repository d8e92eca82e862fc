"""iBOT (Zhou et al., 2022), ViT-S: DINO, and the teacher's view of masked patches; shared heads."""
_base_ = './vit.py'

model = dict(
    encoder=dict(
        arch=dict(base='small'),
        position='learned',
        interpolate_offset=0.1,  # as DINO's code resizes positions for small crops
        mask_token=True,
        initialisation='ibot',
        drop_path=0.1),
    target=dict(momentum=0.996, end=1.0, schedule='cosine', when='after_step', drop_path=0.0),
    tasks=dict(
        distillation=dict(
            type='SelfDistillation',
            global_views=(0, 1),
            local_views=(2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
            masked_by='masked',
            projector=dict(
                type='PrototypeMLP', prototypes=8192, hidden_channels=2048,
                bottleneck=256, num_layers=3, fixed_lengths=False),
            head=dict(
                type='DINOLoss', student_temperature=0.1,
                teacher_temperature=0.07, warmup_temperature=0.04, warmup_epochs=30)),
        masked=dict(
            type='MaskedModeling',
            views=(0, 1),
            average='images',
            # half of the crops is not masked, the others to 10-50 %
            masking=dict(type='MixedRatioMasking', ratios=(0.0, 0.3), variances=(0.0, 0.2)),
            neck=dict(type='PatchProjector', projector='distillation'),
            target=dict(
                type='PrototypeTarget', center_over='all',
                teacher_temperature=0.07, warmup_temperature=0.04, warmup_epochs=30),
            head=dict(type='DistributionLoss', student_temperature=0.1))))
