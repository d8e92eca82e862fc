# Linear probe of MoBY, Swin-T: the mean of the last stage; published 75.3, 70.9 for 300, 100 epochs.
_base_ = './linear-moby_vit-small_8xb64-cosine-100e_in1k.py'
model = dict(encoder=_base_.swin_tiny)
