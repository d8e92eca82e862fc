# CAE's ablation: raw pixels as target (table 8).
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(context=dict(
    target=dict(_delete_=True, type='PixelTarget', normalise=False),
    head=dict(type='PixelLoss', distance='l2'))))
