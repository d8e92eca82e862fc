"""SETR-MLA on a plain ViT-B: four blocks, added from the last to the first, into one head."""

_base_ = './setr-naive_vit.py'

norm = dict(type='SyncBN', requires_grad=True)

model = dict(
    neck=dict(
        type='MLANeck',
        in_channels=None,
        out_channels=256,
        norm_cfg=norm,
        act_cfg=dict(type='ReLU')),
    decode_head=dict(
        _delete_=True,
        type='SETRMLAHead',
        in_channels=(256, 256, 256, 256),
        channels=512,
        in_index=(0, 1, 2, 3),
        mla_channels=128,
        num_classes=19,
        dropout_ratio=0,
        norm_cfg=norm,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    auxiliary_head=[
        dict(
            type='FCNHead',
            in_channels=256,
            channels=256,
            in_index=i,
            dropout_ratio=0,
            num_convs=0,
            kernel_size=1,
            concat_input=False,
            num_classes=19,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4))
        for i in range(4)
    ])
