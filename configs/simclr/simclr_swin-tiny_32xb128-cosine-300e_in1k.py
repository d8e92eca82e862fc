# SimCLR, Swin-T.
_base_ = './simclr_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(_base_.swin_tiny, freeze_patch_embed=True))
