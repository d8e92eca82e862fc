# Fine-tuning of MoCo v3, ViT-S with 12 heads, for DeiT's 300 epochs; published 81.4.
_base_ = './finetune-mocov3_vit-base_8xb128-cosine-150e_in1k.py'
model = dict(encoder=dict(arch=dict(base='small', num_heads=12)))
train_cfg = dict(max_epochs=300)
