# CAE's ablation: raw pixels as target (table 8).
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'

model = dict(
    tasks=dict(
        context=dict(
            decoder=dict(out_channels=768),
            target=dict(_delete_=True, type='PixelTarget', patch_size=16, normalise=False),
            head=dict(type='PixelLoss', distance='l2'))))
