"""Tasks on 64 patches of 4 x 4 to choose from, as `_base_.rotation`; all on both views."""
# no momentum encoder, so that all choices of tasks cost the same but for their heads
contrast = dict(
    type='Contrastive', token='contrast', views=(0, 1), keys='online',
    projector=dict(type='ProjectionMLP', hidden_channels=512, out_channels=128, num_layers=2),
    head=dict(type='NTXent', temperature=0.2))
rotation = dict(type='Rotation', views=(0, 1), token='rotation')
# shares of a view's patches: 8 + 4 + 8 + 16 of 64, none of another task's
colour = dict(type='Colorization', views=(0, 1), patches=8 / 64, predicts='mean', hidden=256)
place = dict(type='RelativePosition', views=(0, 1), pairs=2 / 64, distance=1, crop=0.75, jitter=0.2)
jigsaw = dict(type='Jigsaw', views=(0, 1), patches=8 / 64, position='slot')
paint = dict(type='Inpainting', views=(0, 1), patches=16 / 64, modes=('mask', ), distance='l1')
