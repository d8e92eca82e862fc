# SETR-PUP, ViT-L, Cityscapes, 40k iterations: SETR's main model.
_base_ = './setr-pup_vit-base_8xb1-40k_cityscapes-768x768.py'

model = dict(
    backbone=dict(levels=(9, 14, 19, 23), encoder=dict(arch=dict(base='large'))),
    decode_head=dict(in_channels=1024),
    auxiliary_head=[
        dict(head, in_channels=1024) for head in _base_.model.auxiliary_head
    ])
