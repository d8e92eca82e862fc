"""Tasks on 64 patches of 4 x 4 to choose from, as `_base_.rotation`; all on both views."""

channels = 192

# no momentum encoder, so that all choices of tasks cost the same but for their heads
contrast = dict(
    type='Contrastive',
    token='contrast',
    views=(0, 1),
    keys='online',
    projector=dict(
        type='ProjectionMLP', in_channels=channels, hidden_channels=512, out_channels=128,
        num_layers=2),
    head=dict(type='NTXent', temperature=0.2))
rotation = dict(type='Rotation', in_channels=channels, views=(0, 1), token='rotation')
# patch-level tasks alter 8 + 4 + 8 + 16 of 64 patches of each view, none of another's
colour = dict(
    type='Colorization', in_channels=channels, views=(0, 1), patches=8, predicts='mean', hidden=256)
place = dict(
    type='RelativePosition', in_channels=channels, views=(0, 1), pairs=2, distance=1, crop=0.75,
    jitter=0.2)
jigsaw = dict(
    type='Jigsaw', in_channels=channels, views=(0, 1), patches=8, cells=64, position='slot')
paint = dict(
    type='Inpainting', in_channels=channels, views=(0, 1), patches=16, modes=('mask', ),
    patch_size=4, distance='l1')
