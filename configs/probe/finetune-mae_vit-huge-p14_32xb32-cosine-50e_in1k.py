# Fine-tuning of MAE, ViT-H with patches of 14; published 86.9 for 1600 epochs of pretraining.
_base_ = './finetune-mae_vit-large_32xb32-cosine-50e_in1k.py'
model = dict(encoder=dict(arch=dict(base='huge'), patch_size=14, drop_path=0.3))
