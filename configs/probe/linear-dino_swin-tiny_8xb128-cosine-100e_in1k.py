# Linear probe of DINO on Swin-T: the mean of the last stage of the teacher.
_base_ = './linear-dino_vit-small_8xb128-cosine-100e_in1k.py'
model = dict(encoder=_base_.swin_tiny, readout='cls')
