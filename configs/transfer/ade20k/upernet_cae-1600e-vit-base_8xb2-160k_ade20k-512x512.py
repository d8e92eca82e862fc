# UperNet on CAE, ViT-B, 1600 epochs; published mIoU 50.3.
_base_ = './upernet_cae-300e-vit-base_8xb2-160k_ade20k-512x512.py'
optim_wrapper = dict(optimizer=dict(lr=1e-4))
