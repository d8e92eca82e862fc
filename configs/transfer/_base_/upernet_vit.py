"""UperNet on a plain ViT in BEiT's and CAE's form: four blocks and a deconvolution pyramid."""
_base_ = 'mmseg::_base_/models/upernet_vit-b16_ln_mln.py'

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        _delete_=True,
        type='mmvitssl.DenseFeatures',
        levels=(1 / 3, 1 / 2, 2 / 3, 1.0),  # of the depth
        encoder=dict(type='mmvitssl.ViT', arch=dict(base='base'), image_size=512, patch_size=16)),
    neck=dict(_delete_=True, type='mmvitssl.ScalePyramid', norm_cfg=dict(type='SyncBN')),
    # None: the encoder's width
    decode_head=dict(in_channels=None, channels=None, num_classes=150),
    auxiliary_head=dict(in_channels=None, in_index=2, num_classes=150),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)))
