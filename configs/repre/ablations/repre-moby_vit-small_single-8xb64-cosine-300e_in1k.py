# RePre's ablation on MoBY: the deepest level; linear top-1 73.1 (72.8 without, 73.9 with all).
_base_ = '../repre-moby_vit-small_8xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(levels=1)))
