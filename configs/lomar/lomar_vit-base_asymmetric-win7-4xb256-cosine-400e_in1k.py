# LoMaR's ablation: MAE's asymmetric encoder and decoder in windows of 7 x 7 (figure 5).
_base_ = './lomar_vit-base_absolute-win7-4xb256-cosine-400e_in1k.py'
model = dict(
    encoder=dict(mask_token=False),
    tasks=dict(masked=dict(
        masking=dict(mode='drop'),
        neck=dict(_delete_=True, type='MAEDecoder', width=512, depth=8, num_heads=16))))
