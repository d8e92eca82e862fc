# CAE, ViT-B, 800 epochs; linear 68.9, attentive 75.9, fine-tuned 83.8.
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
train_cfg = dict(max_epochs=800)
param_scheduler = [dict(_base_.warmup, end=20), dict(_base_.cosine, begin=20)]
