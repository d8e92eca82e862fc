"""DINO (Caron et al., 2021), ViT-S: two global and eight local crops, 65536 prototypes."""
_base_ = './vit.py'

model = dict(
    encoder=dict(
        arch=dict(base='small'),
        position='learned',
        initialisation='deit',
        interpolate_offset=0.1,  # as the official code resizes positions for small crops
        drop_path=0.1),
    target=dict(momentum=0.996, end=1.0, schedule='cosine', when='after_step', drop_path=0.0),
    tasks=dict(
        distillation=dict(
            type='SelfDistillation',
            global_views=(0, 1),
            local_views=(2, 3, 4, 5, 6, 7, 8, 9),
            projector=dict(
                type='PrototypeMLP', prototypes=65536, hidden_channels=2048,
                bottleneck=256, num_layers=3, fixed_lengths=True),
            head=dict(type='DINOLoss', student_temperature=0.1, teacher_temperature=0.04))))
