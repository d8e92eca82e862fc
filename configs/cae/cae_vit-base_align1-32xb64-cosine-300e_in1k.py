# CAE's ablation of lambda: linear 63.4, 63.7, 64.1 with 1, 1.5, 2 (default).
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(context=dict(align_weight=1.0)))
