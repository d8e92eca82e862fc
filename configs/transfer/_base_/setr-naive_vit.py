"""SETR-Naive on a plain ViT-B: the last block into two 1x1 convolutions, three auxiliary heads."""
_base_ = 'mmseg::_base_/models/setr_naive.py'

custom_imports = dict(imports=['mmvitssl.models', 'mmvitssl.engine'])

# one enlargement behind the classifier, as in SETR's official code; mmseg has another in between
upsampling = dict(num_convs=1, up_scale=1, kernel_size=1)
auxiliary = dict(
    type='SETRUPHead', channels=256, num_classes=19, dropout_ratio=0,
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4))

model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(768, 768)),
    backbone=dict(
        _delete_=True, type='mmvitssl.DenseFeatures', levels=4,
        encoder=dict(
            type='mmvitssl.ViT',
            arch=dict(base='base'),
            image_size=768, patch_size=16, interpolation='bilinear')),
    decode_head=dict(in_channels=None, **upsampling),
    auxiliary_head=[dict(auxiliary, in_index=i, **upsampling) for i in range(3)],
    test_cfg=dict(mode='slide', crop_size=(768, 768), stride=(512, 512)))
