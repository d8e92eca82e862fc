# MoCo v2, ViT-S, 800 epochs; linear top-1 72.7 as RePre reports it.
_base_ = './mocov2_vit-small_8xb128-cosine-300e_in1k.py'
train_cfg = dict(max_epochs=800)
