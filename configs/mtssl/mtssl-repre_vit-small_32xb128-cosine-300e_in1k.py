# Multi-task ViT and RePre: the first view, corrupted in places, is reconstructed whole.
_base_ = ['./mtssl_vit-small_32xb128-cosine-300e_in1k.py', '../repre/_base_/reconstruction.py']
model = dict(tasks=dict(reconstruction=_base_.reconstruction))
