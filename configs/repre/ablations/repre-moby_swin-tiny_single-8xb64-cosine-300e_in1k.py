# RePre's ablation on MoBY: the deepest level; linear top-1 75.4 (75.0 without, 76.1 with all).
_base_ = '../repre-moby_swin-tiny_8xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(levels=1)))
