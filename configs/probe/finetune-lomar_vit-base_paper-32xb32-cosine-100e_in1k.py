# Fine-tuning of LoMaR, ViT-B, at the learning rate of its paper, twice that of its repository.
_base_ = './finetune-lomar_vit-base_32xb32-cosine-100e_in1k.py'
# 1e-3 x 1024 / 256
optim_wrapper = dict(optimizer=dict(lr=4e-3))
