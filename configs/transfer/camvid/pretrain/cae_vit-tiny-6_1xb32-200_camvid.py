# CAE with pixels as targets, ViT-Ti with 6 blocks, on CamVid.
_base_ = ['../../../_base_/models/cae_vit.py', '../../_base_/camvid_pretrain.py']

small = dict(depth=2)
model = dict(
    encoder=dict(arch=dict(base='tiny', depth=6), image_size=_base_.size),
    tasks=dict(
        context=dict(
            masking=dict(min_block=4),
            regressor=small,
            decoder=small,
            target=dict(_delete_=True, type='PixelTarget', normalise=True),
            head=dict(_delete_=True, type='PixelLoss', distance='l2'))))
