# dBOT-style (Liu et al., 2022), ViT-B, one stage of 800 epochs: MAE's dropped patches, the features
# of a frozen teacher. The teacher of the first stage has random weights; that of each later stage
# is the encoder of the one before: --cfg-options model.tasks.masked.target.checkpoint=FILE.
_base_ = '../mae/mae_vit-base_64xb64-cosine-800e_in1k.py'
model = dict(tasks=dict(masked=dict(
    target=dict(_delete_=True, type='FrozenTarget', teacher=_base_.model.encoder, normalise=True),
    head=dict(_delete_=True, type='LatentLoss', distance='smooth_l1'))))
