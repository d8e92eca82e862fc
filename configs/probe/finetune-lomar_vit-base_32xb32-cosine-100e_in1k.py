# Fine-tuning of LoMaR, ViT-B; published 83.3, 83.6, 83.8, 84.1 for 300, 400, 800, 1600 epochs. The
# learning rate is the repository's; the paper has twice as much.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'
model = dict(encoder=dict(position='none', relative_position='irpe'))
