# LoMaR's ablation: 40 % of each window masked (figure 6; 80 % is best).
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(ratio=0.4))))
