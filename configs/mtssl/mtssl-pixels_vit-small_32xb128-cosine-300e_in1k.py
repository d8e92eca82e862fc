# Multi-task ViT whose colorization predicts the colour of every pixel (the paper's figure 1).
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(colour=dict(predicts='pixels')))
