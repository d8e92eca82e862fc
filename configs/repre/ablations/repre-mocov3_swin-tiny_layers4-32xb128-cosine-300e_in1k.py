# RePre's ablation: four convolutions a fusion block; published linear top-1 76.2.
_base_ = '../repre-mocov3_swin-tiny_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(neck=dict(layers=4))))
