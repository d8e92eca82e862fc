# DINO, Swin-T, 100 epochs (RePre's table 2).
_base_ = './dino_vit-small_8xb128-cosine-100e_in1k.py'
model = dict(encoder=dict(_base_.swin_tiny, drop_path=0.1))
