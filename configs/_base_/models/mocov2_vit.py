"""MoCo v2 (Chen et al., 2020) on ViT-S as DINO's authors ran it: one direction, a queue of 65536 keys.

Temperature, momentum, queue and the three layers are theirs (github.com/facebookresearch/dino,
issue 34); the widths of the projector are those of DINO's, which they do not state.
"""

_base_ = './vit.py'

model = dict(
    encoder=dict(arch=dict(base='small'), position='learned', initialisation='deit', drop_path=0.1),
    target=dict(
        momentum=0.996, end=1.0, schedule='cosine', when='before_forward', drop_path=0.0),
    tasks=dict(
        contrastive=dict(
            type='Contrastive',
            views=(0, 1),
            pairs=((0, 1), ),
            projector=dict(
                type='ProjectionMLP', hidden_channels=2048, out_channels=256,
                num_layers=3, bias=True, norm=False, last_norm=False),
            head=dict(type='QueueInfoNCE', size=65536, temperature=0.1, queues=1, first_view=1))))
