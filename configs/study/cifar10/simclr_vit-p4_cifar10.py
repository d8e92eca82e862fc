# SimCLR on CIFAR-10, with projectors of 512 channels.
_base_ = ['../../_base_/models/simclr_vit.py', '../_base_/two_views.py']
model = dict(
    data_preprocessor=_base_.preprocessor, encoder=_base_.vit_p4.encoder,
    tasks=dict(contrastive=dict(
        projector=dict(hidden_channels=512, out_channels=128),
        head=dict(temperature=0.2))))
