# CAE, ViT-B, 1600 epochs; linear 70.3, attentive 77.2, fine-tuned 83.9.
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
train_cfg = dict(max_epochs=1600)
param_scheduler = [dict(_base_.warmup, end=40), dict(_base_.cosine, begin=40)]
