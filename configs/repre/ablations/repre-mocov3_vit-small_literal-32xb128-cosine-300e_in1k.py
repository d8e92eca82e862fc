# RePre's ablation: the literal width, 2C to C, which costs far more than 4 %.
_base_ = '../repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(neck=dict(width=None))))
