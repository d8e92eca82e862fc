# SETR-MLA, ViT-B, Cityscapes, 40k iterations: SETR's published recipe and taps of its DeiT-B.
# Four blocks, added from the last to the first, into one head.
_base_ = ['../_base_/setr-naive_vit.py', '../_base_/setr_40k.py']

norm = dict(type='SyncBN', requires_grad=True)
cross_entropy = dict(type='CrossEntropyLoss', use_sigmoid=False)
auxiliary = dict(
    type='FCNHead', in_channels=256, channels=256, num_convs=0, kernel_size=1, concat_input=False,
    num_classes=19, dropout_ratio=0, align_corners=False,
    loss_decode=dict(cross_entropy, loss_weight=0.4))
model = dict(
    neck=dict(
        type='MLANeck', in_channels=None, out_channels=256, norm_cfg=norm,
        act_cfg=dict(type='ReLU')),
    decode_head=dict(
        _delete_=True, type='SETRMLAHead', in_channels=(256, 256, 256, 256), in_index=(0, 1, 2, 3),
        channels=512, mla_channels=128, num_classes=19, dropout_ratio=0, norm_cfg=norm,
        align_corners=False, loss_decode=dict(cross_entropy, loss_weight=1.0)),
    auxiliary_head=[dict(auxiliary, in_index=i) for i in range(4)])
optim_wrapper = dict(optimizer=dict(lr=0.002))
