# RePre's ablation: four convolutions a fusion block; published linear top-1 73.2.
_base_ = '../repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(neck=dict(layers=4))))
