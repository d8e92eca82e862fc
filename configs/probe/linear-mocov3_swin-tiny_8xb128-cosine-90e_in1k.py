# Linear probe of MoCo v3 on Swin-T; published by RePre 75.4 (76.4 with RePre) for 300 epochs.
_base_ = './linear-mocov3_vit-base_8xb128-cosine-90e_in1k.py'
model = dict(encoder=_base_.swin_tiny)
