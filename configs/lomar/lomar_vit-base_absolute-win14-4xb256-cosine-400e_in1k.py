# LoMaR's ablation (figure 5): absolute positions, 75 % masked, simple encoder, windows of 14 x 14.
_base_ = './lomar_vit-base_absolute-win7-4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(window=14, views=1))))
