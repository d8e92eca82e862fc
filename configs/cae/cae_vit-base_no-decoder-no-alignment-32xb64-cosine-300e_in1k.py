# CAE's ablation: neither decoder nor alignment (table 5).
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(context=dict(decoder=dict(depth=0), align_weight=0.0)))
