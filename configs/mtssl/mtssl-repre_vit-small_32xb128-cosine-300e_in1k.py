# Multi-task ViT and RePre: the first view, corrupted in places, is reconstructed whole.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'

model = dict(
    tasks=dict(
        reconstruction=dict(
            type='Reconstruction',
            views=(0, ),
            neck=dict(type='MultiHierarchyFusion', width=128, layers=2),
            head=dict(type='PixelLoss', distance='l1'))))
