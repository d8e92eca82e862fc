# Multi-task ViT, all six tasks, ViT-Ti with 6 blocks, on CamVid.
_base_ = ['../../../_base_/models/mtssl_vit.py', '../../_base_/camvid_pretrain.py']

model = dict(
    encoder=dict(arch=dict(base='tiny', depth=6), image_size=_base_.size),
    target=None,
    tasks=dict(
        _delete_=True,
        contrast=dict(
            type='Contrastive',
            token='contrast',
            views=(0, 1),
            keys='online',
            projector=dict(
                type='ProjectionMLP', hidden_channels=512, out_channels=128, num_layers=2),
            head=dict(type='NTXent', temperature=0.2)),
        rotation=dict(type='Rotation', views=(0, 1), token='rotation'),
        # shares of a view's patches: 5 + 4 + 8 + 10 of 49
        colour=dict(type='Colorization', views=(0, 1), patches=5 / 49, predicts='mean', hidden=256),
        place=dict(
            type='RelativePosition', views=(0, 1), pairs=2 / 49, distance=1,
            crop=0.75, jitter=0.2),
        jigsaw=dict(type='Jigsaw', views=(0, 1), patches=8 / 49, position='slot'),
        paint=dict(
            type='Inpainting', views=(0, 1), patches=10 / 49, modes=('mask', ),
            distance='l1')))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImage'),
            dict(type='MultiView', views=[dict(transforms=_base_.jittered, num=2)]),
            dict(type='PackViews'),
        ]))
