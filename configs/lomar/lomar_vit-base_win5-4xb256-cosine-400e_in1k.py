# LoMaR's ablation of window sizes (table 4): 5 x 5 patches, 8 views an image.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(window=5, views=8))))
