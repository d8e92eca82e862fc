# UperNet on the demo's scenes: three levels of a ViT of 3 blocks with patches of 8.
_base_ = './upernet_vit-tiny_demo.py'

iterations = 150
size = 96

model = dict(
    data_preprocessor=dict(size=(size, size)),
    backbone=dict(
        levels=3,
        encoder=dict(
            arch=dict(_delete_=True, embed_dim=96, depth=3, num_heads=3), image_size=size,
            patch_size=8)),
    neck=dict(scales=(2.0, 1.0, 0.5)),
    # PyTorch's initialisation of the last layer: from mmseg's (deviation .01) 150 iterations learn
    # the background first and the classes hardly
    decode_head=dict(in_index=(0, 1, 2), init_cfg=None),
    auxiliary_head=dict(in_index=1, init_cfg=None))
train_cfg = dict(max_iters=iterations, val_interval=iterations + 1)
default_hooks = dict(checkpoint=dict(interval=iterations))
