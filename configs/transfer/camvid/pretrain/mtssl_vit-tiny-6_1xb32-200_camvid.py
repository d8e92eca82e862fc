# Multi-task ViT, all six tasks, ViT-Ti with 6 blocks, on CamVid.
_base_ = ['../../../_base_/models/mtssl_vit.py', '../../_base_/camvid_pretrain.py']

model = dict(
    encoder=_base_.tiny, target=None,
    tasks=dict(
        _delete_=True,
        contrast=dict(
            type='Contrastive', token='contrast', views=(0, 1), keys='online',
            projector=dict(
                type='ProjectionMLP', hidden_channels=512, out_channels=128, num_layers=2),
            head=dict(type='NTXent', temperature=0.2)),
        rotation=_base_.rotation,
        # shares of a view's patches: 5 + 4 + 8 + 10 of 49
        colour=dict(_base_.colour, patches=5 / 49, hidden=256),
        place=dict(_base_.place, pairs=2 / 49),
        jigsaw=dict(_base_.jigsaw, patches=8 / 49),
        paint=dict(_base_.paint, patches=10 / 49)))
train_dataloader = dict(dataset=dict(pipeline=_base_.two_views))
