# SETR-Naive, ViT-Ti with 6 blocks, CamVid: minutes on a CPU core.
_base_ = ['../_base_/setr-naive_vit.py', '../_base_/camvid.py', 'mmseg::_base_/default_runtime.py']

norm = dict(type='BN')
heads = dict(channels=96, num_classes=11, norm_cfg=norm)

model = dict(
    data_preprocessor=dict(size=_base_.crop),
    backbone=dict(
        levels=(1 / 3, 1 / 2, 2 / 3, 1.0),
        encoder=dict(arch=dict(base='tiny', depth=6), image_size=_base_.crop)),
    decode_head=heads,
    # one in place of three: each costs as much time as two blocks
    auxiliary_head=[dict(_base_.model.auxiliary_head[2], **heads)],
    test_cfg=dict(_delete_=True, mode='whole'))

# its steps take half the time of UperNet's
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(base_batch_size=8)
