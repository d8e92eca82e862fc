# RePre's ablation: transformer fusion, one layer; published linear top-1 71.8.
_base_ = '../repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(neck=dict(fusion='transformer', layers=1))))
