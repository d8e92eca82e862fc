# Fine-tuning of LoMaR, ViT-B with patches of 8 pixels; published 84.3 for 400 epochs.
_base_ = './finetune-lomar_vit-base_32xb32-cosine-100e_in1k.py'
model = dict(encoder=dict(patch_size=8))
