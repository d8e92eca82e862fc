"""MoBY (Xie et al., 2021), DeiT-S: two queues, drop path on the online branch only."""

_base_ = './vit.py'

model = dict(
    encoder=dict(arch=dict(base='small'), position='learned', initialisation='deit', drop_path=0.2),
    target=dict(momentum=0.99, end=1.0, schedule='cosine', when='before_forward', drop_path=0.0),
    tasks=dict(
        contrastive=dict(
            type='Contrastive',
            views=(0, 1),
            projector=dict(
                type='ProjectionMLP', hidden_channels=4096, out_channels=256,
                num_layers=2, bias=True, last_norm=False),
            predictor=dict(
                type='ProjectionMLP', hidden_channels=4096, num_layers=2, bias=True,
                last_norm=False),
            head=dict(type='QueueInfoNCE', size=4096, temperature=0.2, queues=2))))
