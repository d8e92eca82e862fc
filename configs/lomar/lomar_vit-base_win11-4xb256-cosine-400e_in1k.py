# LoMaR's ablation of window sizes (table 4): 11 x 11 patches, 2 views an image.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(window=11, views=2))))
