# MAE, ViT-H with patches of 14, 800 epochs (1600 in the released weights: 86.9 fine-tuned).
_base_ = './mae_vit-base_64xb64-cosine-800e_in1k.py'

patch = 14
model = dict(
    encoder=dict(arch=dict(base='huge'), patch_size=patch),
    tasks=dict(
        masked=dict(
            neck=dict(in_channels=1280, out_channels=3 * patch**2, grid=224 // patch),
            target=dict(patch_size=patch))))
