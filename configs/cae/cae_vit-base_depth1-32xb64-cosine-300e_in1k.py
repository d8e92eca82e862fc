# CAE's ablation of depths: linear 58.7, 62.1, 64.1, 64.2 with 1, 2, 4 (default), 5 blocks.
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(context=dict(regressor=dict(depth=1), decoder=dict(depth=1))))
