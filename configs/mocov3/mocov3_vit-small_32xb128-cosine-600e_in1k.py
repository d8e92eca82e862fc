# MoCo v3, ViT-S, 600 epochs; published linear top-1 73.4.
_base_ = './mocov3_vit-small_32xb128-cosine-300e_in1k.py'
train_cfg = dict(max_epochs=600)
