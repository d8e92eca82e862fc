# SETR-PUP, ViT-B, Cityscapes, 40k iterations: SETR's published recipe and taps of its DeiT-B.
# The last block is enlarged four times by two; four auxiliary heads.
_base_ = ['../_base_/setr-naive_vit.py', '../_base_/setr_40k.py']
model = dict(
    # blocks 10, 15, 20, 24 of the published 24
    backbone=dict(levels=(10 / 24, 15 / 24, 20 / 24, 1.0)),
    decode_head=dict(num_convs=4, up_scale=2, kernel_size=3),
    # the last block has one too, in SETR's official code but not in mmseg
    auxiliary_head=[
        dict(_base_.auxiliary, in_index=i, num_convs=1, up_scale=4, kernel_size=3)
        for i in range(4)
    ])
optim_wrapper = dict(optimizer=dict(lr=0.01))
