# LoMaR with mask tokens joining before block 8 of 12, as its section 5 suggests for speed.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(mask_at=8))))
