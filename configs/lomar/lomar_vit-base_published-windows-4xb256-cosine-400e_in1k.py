# LoMaR with the windows of the official code: drawn once a batch, one place four times an image.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(pairing='published'))))
