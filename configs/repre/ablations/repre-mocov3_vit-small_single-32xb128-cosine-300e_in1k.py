# RePre's ablation: the deepest level alone; published linear top-1 72.8.
_base_ = '../repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(levels=1)))
