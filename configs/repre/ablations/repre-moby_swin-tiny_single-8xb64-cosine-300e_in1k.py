# RePre's ablation on MoBY: the deepest level alone; published linear top-1 75.4 (none 75.0, all
# 76.1).
_base_ = '../repre-moby_swin-tiny_8xb64-cosine-300e_in1k.py'

model = dict(tasks=dict(reconstruction=dict(levels=1)))
