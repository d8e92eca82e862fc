# UperNet on LoMaR, ViT-B, with MAE's recipe; nothing published. Contextual relative positions fit
# every resolution.
_base_ = './upernet_vit-base_8xb2-160k_ade20k-512x512.py'
model = dict(backbone=dict(encoder=dict(position='none', relative_position='irpe')))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
