# MoBY, Swin-T, 100 epochs; published linear top-1 70.9.
_base_ = './moby_swin-tiny_8xb64-cosine-300e_in1k.py'
train_cfg = dict(max_epochs=100)
