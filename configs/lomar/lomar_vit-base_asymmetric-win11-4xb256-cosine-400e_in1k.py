# LoMaR's ablation: MAE's asymmetric encoder and decoder in windows of 11 x 11 (figure 5).
_base_ = './lomar_vit-base_asymmetric-win7-4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(window=11, views=2))))
