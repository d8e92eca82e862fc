# Fine-tuning of SimMIM, ViT-B, with BEiT's recipe.
_base_ = './finetune-beit_vit-base_32xb32-cosine-100e_in1k.py'
