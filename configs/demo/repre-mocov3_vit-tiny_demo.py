# RePre on MoCo v3 at the size of a laptop: a ViT-Ti of 4 blocks on the demo's close-ups.
_base_ = ['../_base_/models/mocov3_vit.py', './_base_/pretrain.py']

epochs = 20
size = 64

model = dict(
    encoder=dict(
        arch=dict(base='tiny', depth=4), image_size=size, position='learned',
        freeze_patch_embed=False),
    target=dict(momentum=0.98),
    tasks=dict(
        contrastive=dict(
            # the mean of the patches in place of the class token: patches are what heads will read
            token='mean',
            projector=dict(hidden_channels=512, out_channels=128),
            predictor=dict(hidden_channels=512)),
        reconstruction=dict(
            type='Reconstruction',
            neck=dict(type='MultiHierarchyFusion', width=64),
            head=dict(type='PixelLoss'))),
    # learned weights fall to a quarter for the contrast within hundreds of steps
    balancer=dict(type='FixedWeights'))

# any hue: the colour of an object says nothing of its class; no blur, which would hide textures
view = [
    dict(type='RandomResizedCrop', scale=(0.4, 1.0)),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.5, p=0.9),
    dict(type='RandomGrayscale', p=0.3),
    dict(type='RandomFlip', p=0.5),
]
views = dict(type='MultiView', views=[dict(transforms=view), dict(transforms=view)])
pipeline = [dict(type='LoadImage'), views, dict(type='PackViews')]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs)
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='ReduceLogsHook'),
    dict(type='TaskPicturesHook', interval=epochs // 4),
]
default_hooks = dict(checkpoint=dict(interval=epochs // 2))
