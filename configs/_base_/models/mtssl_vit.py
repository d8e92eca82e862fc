"""Multi-task ViT, ViT-S: many pretext tasks in one forward of each view; six tasks to choose from."""
_base_ = './vit.py'

contrast = dict(
    type='Contrastive', token='contrast', views=(0, 1),
    projector=dict(type='ProjectionMLP', hidden_channels=4096, out_channels=256, num_layers=3),
    predictor=dict(type='ProjectionMLP', hidden_channels=4096, num_layers=2),
    head=dict(type='InfoNCE', temperature=0.2, scale=0.4))
rotation = dict(type='Rotation', views=(0, 1), token='rotation')
# shares of a view's patches: 20 + 8 + 16 + 40 of 196, none of another task's
colour = dict(type='Colorization', views=(0, 1), patches=20 / 196, predicts='mean', hidden=512)
place = dict(
    type='RelativePosition', views=(0, 1), pairs=4 / 196, distance=1, crop=0.75, jitter=0.2)
jigsaw = dict(type='Jigsaw', views=(0, 1), patches=16 / 196, position='slot')
paint = dict(type='Inpainting', views=(0, 1), patches=40 / 196, modes=('mask', ), distance='l1')

model = dict(
    encoder=dict(
        arch=dict(base='small'), position='learned', prefix_tokens=('contrast', 'rotation')),
    target=dict(momentum=0.99, end=1.0, schedule='cosine', when='before_forward'),
    # the paper's figure 1
    tasks=dict(contrast=contrast, rotation=rotation, colour=colour, place=place))
