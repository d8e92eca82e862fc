# RePre on MoCo v3 at the size of a laptop: ViT-Ti on the photographs and scenes of the demo.
_base_ = [
    '../_base_/models/mocov3_vit.py',
    '../_base_/default_runtime.py',
]

epochs = 30
image_size = 112

model = dict(
    encoder=dict(
        arch='tiny',
        image_size=image_size,
        position='learned'),
    tasks=dict(
        contrastive=dict(
            projector=dict(in_channels=192, hidden_channels=512, out_channels=128),
            predictor=dict(in_channels=128, hidden_channels=512, out_channels=128)),
        reconstruction=dict(
            type='Reconstruction',
            neck=dict(type='MultiHierarchyFusion', in_channels=192, width=96),
            head=dict(type='PixelLoss'))),
    balancer=dict(
        type='UncertaintyWeights',
        likelihoods=dict(contrastive='classification', reconstruction='laplace')))
