# Multi-task ViT, ViT-B.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'

model = dict(
    encoder=dict(arch=dict(_delete_=True, base='base')),
    tasks=dict(
        contrast=dict(projector=dict(in_channels=768)),
        rotation=dict(in_channels=768),
        colour=dict(in_channels=768),
        place=dict(in_channels=768)))
