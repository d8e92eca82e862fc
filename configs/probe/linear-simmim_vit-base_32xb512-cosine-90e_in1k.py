# Linear probe of SimMIM, ViT-B, with MAE's protocol.
_base_ = './linear-beit_vit-base_32xb512-cosine-90e_in1k.py'
