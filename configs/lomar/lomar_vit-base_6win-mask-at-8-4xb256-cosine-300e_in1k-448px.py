# LoMaR at 448 x 448 for a third of MAE's operations: 6 windows, mask tokens join before block 8.
_base_ = './lomar_vit-base_4xb256-cosine-300e_in1k-448px.py'
model = dict(tasks=dict(masked=dict(masking=dict(views=6, mask_at=8))))
