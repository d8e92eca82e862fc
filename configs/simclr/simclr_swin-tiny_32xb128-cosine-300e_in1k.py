# SimCLR, Swin-T.
_base_ = './simclr_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(
    encoder=dict(_delete_=True, type='SwinTransformer', arch='tiny', freeze_patch_embed=True))
