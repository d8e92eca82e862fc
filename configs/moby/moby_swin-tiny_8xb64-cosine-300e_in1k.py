# MoBY, Swin-T, 300 epochs; published linear top-1 75.3 (75.0 in its paper and RePre's).
_base_ = './moby_vit-small_8xb64-cosine-300e_in1k.py'
model = dict(encoder=dict(_base_.swin_tiny, drop_path=0.2))
