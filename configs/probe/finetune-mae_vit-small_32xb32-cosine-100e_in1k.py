# Fine-tuning of MAE, ViT-S, with ViT-B's recipe; nothing published.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small')))
