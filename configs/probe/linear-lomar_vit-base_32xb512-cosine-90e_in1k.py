# Linear probe of LoMaR, ViT-B, with MAE's protocol; LoMaR publishes fine-tuning alone.
_base_ = './linear-mae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(encoder=dict(position='none', relative_position='irpe'))
