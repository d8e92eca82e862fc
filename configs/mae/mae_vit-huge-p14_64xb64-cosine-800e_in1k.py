# MAE, ViT-H with patches of 14, 800 epochs (1600 in the released weights: 86.9 fine-tuned).
_base_ = './mae_vit-base_64xb64-cosine-800e_in1k.py'
model = dict(encoder=dict(arch=dict(base='huge'), patch_size=14))
