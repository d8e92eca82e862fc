# Fine-tuning of LoMaR, ViT-B, at 384 pixels after 224; published 85.2, 85.4 for 800, 1600 epochs.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k-384px.py'
model = dict(encoder=dict(position='none', relative_position='irpe'))
