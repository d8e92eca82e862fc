# MoCo v3, Swin-T; linear top-1 75.4 as RePre reports it.
_base_ = './mocov3_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(_base_.swin_tiny, freeze_patch_embed=True))
