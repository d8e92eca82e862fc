# LoMaR's ablation (figure 5): absolute positions, 75 % masked, simple encoder, windows of 7 x 7.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(
    encoder=dict(position='sincos_column_first', relative_position=None),
    tasks=dict(masked=dict(masking=dict(window=7, views=4, ratio=0.75))))
