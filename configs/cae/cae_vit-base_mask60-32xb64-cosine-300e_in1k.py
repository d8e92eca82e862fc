# CAE's ablation: 117 of 196 patches masked (table 7).
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(context=dict(masking=dict(ratio=0.6))))
