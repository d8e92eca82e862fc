# CAE's ablation: a linear layer in place of the decoder (table 5).
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(context=dict(decoder=dict(depth=0))))
