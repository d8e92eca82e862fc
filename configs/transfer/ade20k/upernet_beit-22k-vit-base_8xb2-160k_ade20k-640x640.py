# UperNet on BEiT, ViT-B, pretrained and tuned on ImageNet-22k, 640 pixels; published mIoU 53.61.
_base_ = [
    '../_base_/upernet_vit.py', 'mmseg::_base_/datasets/ade20k_640x640.py',
    '../_base_/upernet_160k.py']
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(encoder=dict(
        image_size=640, position='none', relative_position='block_bias', qkv_bias='qv',
        layer_scale=0.1, drop_path=0.1)),
    test_cfg=dict(crop_size=(640, 640), stride=(426, 426)))

train_dataloader = dict(batch_size=2)
optim_wrapper = dict(optimizer=dict(lr=3e-5), paramwise_cfg=dict(decay_rate=0.9))
