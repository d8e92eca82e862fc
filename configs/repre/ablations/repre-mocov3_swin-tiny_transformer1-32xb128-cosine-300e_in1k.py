# RePre's ablation: transformer fusion, one layer; published linear top-1 74.6.
_base_ = '../repre-mocov3_swin-tiny_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(neck=dict(fusion='swin', layers=1))))
