# SETR-Naive, ViT-B, Cityscapes, 40k iterations: SETR's published recipe and taps of its DeiT-B.
_base_ = ['../_base_/setr-naive_vit.py', '../_base_/setr_40k.py']
optim_wrapper = dict(optimizer=dict(lr=0.01))
