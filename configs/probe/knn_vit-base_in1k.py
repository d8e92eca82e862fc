# Nearest neighbours on ImageNet (DINO's protocol), ViT-B.
_base_ = './knn_vit-small_in1k.py'
encoder = dict(arch=dict(base='base'))
