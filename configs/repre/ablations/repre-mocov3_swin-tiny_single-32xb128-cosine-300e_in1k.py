# RePre's ablation: the deepest level alone; published linear top-1 75.7.
_base_ = '../repre-mocov3_swin-tiny_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(levels=1)))
