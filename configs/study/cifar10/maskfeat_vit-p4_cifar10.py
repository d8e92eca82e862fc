# MaskFeat on CIFAR-10: nine orientations of each masked patch of four pixels.
_base_ = './data2vec_vit-p4_cifar10.py'
model = dict(
    target=None,
    tasks=dict(masked=dict(
        masking=dict(ratio=0.4),
        target=dict(_delete_=True, type='HOGTarget', bins=9, cell=4, window=4),
        head=dict(_delete_=True, type='PixelLoss', distance='l2'))))
custom_hooks = [dict(type='ReduceLogsHook')]
