# Linear probe of MAE, ViT-B, on features of the middle of each image, which are computed once.
_base_ = './linear-mae_vit-base_32xb512-cosine-90e_in1k.py'

train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        _delete_=True, type='CachedFeatures',
        dataset=dict(
            type='LabelledFolder', root='data/imagenet/train',
            pipeline={{_base_.val_dataloader.dataset.pipeline}})))
val_dataloader = dict(
    num_workers=2,
    dataset=dict(_delete_=True, type='CachedFeatures', dataset={{_base_.val_dataloader.dataset}}))
custom_hooks = [
    dict(type='ReduceLogsHook'),
    dict(type='FeatureCacheHook', batch_size=256, workers=8),
]
