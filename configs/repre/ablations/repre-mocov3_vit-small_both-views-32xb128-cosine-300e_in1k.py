# RePre's ablation: both views reconstructed.
_base_ = '../repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(tasks=dict(reconstruction=dict(views=(0, 1))))
