# RePre's ablation on MoBY: the deepest level alone; published linear top-1 73.1 (none 72.8, all
# 73.9).
_base_ = '../repre-moby_vit-small_8xb64-cosine-300e_in1k.py'

model = dict(tasks=dict(reconstruction=dict(levels=1)))
