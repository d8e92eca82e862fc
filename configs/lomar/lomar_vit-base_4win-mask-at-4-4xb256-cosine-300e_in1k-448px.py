# LoMaR at 448 x 448 for a third of MAE's operations: 4 windows, mask tokens join before block 4.
_base_ = './lomar_vit-base_4xb256-cosine-300e_in1k-448px.py'
model = dict(tasks=dict(masked=dict(masking=dict(views=4, mask_at=4))))
