# Multi-task ViT whose colorization picks quantised colours, with rebalanced classes.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(colour=dict(predicts='bins')))
