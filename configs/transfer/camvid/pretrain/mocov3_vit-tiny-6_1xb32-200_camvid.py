# MoCo v3, ViT-Ti with 6 blocks, on CamVid.
_base_ = ['../../../_base_/models/mocov3_vit.py', '../../_base_/camvid_pretrain.py']
model = dict(
    encoder=_base_.tiny,
    tasks=dict(contrastive=dict(
        projector=dict(hidden_channels=512, out_channels=128),
        predictor=dict(hidden_channels=512))))
train_dataloader = dict(dataset=dict(pipeline=_base_.two_views))
