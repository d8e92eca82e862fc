# RePre on SimCLR at the size of a laptop: a ViT of 3 blocks on the demo's close-ups.
_base_ = ['../_base_/models/simclr_vit.py', './_base_/pretrain.py']

epochs = 60

# any hue, and often none: the colour of an object says nothing of its class; no blur, which would
# hide textures
colour = [
    dict(type='ColorJitter', brightness=0.6, contrast=0.6, saturation=0.4, hue=0.5, p=0.8),
    dict(type='RandomGrayscale', p=0.5),
    dict(type='RandomFlip', p=0.5),
]

model = dict(
    # in whole batches: a worker would take longer than a step
    data_preprocessor=dict(
        augment=dict(type='DeviceAugment', views=[dict(transforms=colour, num=2)])),
    encoder=dict(
        arch=dict(_delete_=True, embed_dim=96, depth=3, num_heads=3), image_size=24,
        patch_size=8, position='learned', freeze_patch_embed=False),
    tasks=dict(
        contrastive=dict(
            # the mean of the patches in place of the class token: patches are what heads will read
            token='mean',
            projector=dict(
                _delete_=True, type='ProjectionMLP', hidden_channels=256, out_channels=128,
                num_layers=2),
            head=dict(temperature=0.2)),
        reconstruction=dict(
            type='Reconstruction',
            levels=3,
            neck=dict(type='MultiHierarchyFusion', width=32),
            head=dict(type='PixelLoss'))),
    # learned weights fall to a quarter for the contrast within hundreds of steps
    balancer=dict(type='FixedWeights'))

crop = dict(type='RandomResizedCrop', scale=(0.3, 1.0))
views = dict(type='MultiView', views=[dict(transforms=[crop], num=2)])
pipeline = [dict(type='LoadImage'), views, dict(type='PackViews')]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

optim_wrapper = dict(
    optimizer=dict(lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
custom_hooks = [dict(type='ReduceLogsHook'), dict(type='TaskPicturesHook', interval=epochs // 4)]
default_hooks = dict(checkpoint=dict(interval=epochs // 2))
