# LoMaR's ablation: MAE's asymmetric encoder and decoder in windows of 9 x 9 (figure 5).
_base_ = './lomar_vit-base_asymmetric-win7-4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(window=9, views=3))))
