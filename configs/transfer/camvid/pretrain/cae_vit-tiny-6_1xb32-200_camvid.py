# CAE with pixels as targets, ViT-Ti with 6 blocks, on CamVid.
_base_ = ['../../../_base_/models/cae_vit.py', '../../_base_/camvid_pretrain.py']
small = dict(depth=2)
model = dict(
    encoder=_base_.tiny,
    tasks=dict(context=dict(
        masking=dict(min_block=4),
        regressor=small, decoder=small,
        target=dict(_delete_=True, type='PixelTarget', normalise=True),
        head=dict(_delete_=True, type='PixelLoss', distance='l2'))))
