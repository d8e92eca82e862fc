# Fine-tuning of DINO, ViT-B, the teacher, by DeiT's recipe; published 82.8.
_base_ = './finetune-mocov3_vit-base_8xb128-cosine-150e_in1k.py'
model = dict(encoder=dict(interpolate_offset=0.1))
train_cfg = dict(max_epochs=300)
