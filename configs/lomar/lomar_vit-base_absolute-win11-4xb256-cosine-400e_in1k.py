# LoMaR's ablation: absolute positions, 75 % masked, windows of 11 x 11 in a simple encoder (figure
# 5).
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'

model = dict(
    encoder=dict(position='sincos_column_first', relative_position=None),
    tasks=dict(masked=dict(masking=dict(window=11, views=2, ratio=0.75))))
