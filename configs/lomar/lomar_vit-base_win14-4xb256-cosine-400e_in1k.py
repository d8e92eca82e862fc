# LoMaR's ablation of window sizes (table 4): 14 x 14 patches, 1 views an image.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(window=14, views=1))))
