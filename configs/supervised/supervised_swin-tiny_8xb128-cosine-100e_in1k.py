# Supervised Swin-T, 100 epochs: RePre's row "IN Sup. 100" (COCO 41.6 / 38.4). Its recipe is not
# said; this is that of 300 epochs.
_base_ = './supervised_swin-tiny_8xb128-cosine-300e_in1k.py'
train_cfg = dict(max_epochs=100)
