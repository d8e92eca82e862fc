# MoCo v3, ViT-B, 600 epochs; published linear top-1 76.7.
_base_ = './mocov3_vit-base_32xb128-cosine-300e_in1k.py'
train_cfg = dict(max_epochs=600)
