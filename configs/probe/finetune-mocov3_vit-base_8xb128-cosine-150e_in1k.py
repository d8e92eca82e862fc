# Fine-tuning of MoCo v3, ViT-B, from the class token with DeiT's recipe, its repeated
# augmentation included; published 83.2. Positions start from the sine-cosine table and are trained.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'
model = dict(readout='cls', pooled_norm=None, head=dict(std=0.02))
train_dataloader = dict(batch_size=128, sampler=dict(repeats=3))
# 5e-4 x 1024 / 512
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(decay_rate=1.0))
train_cfg = dict(max_epochs=150)
param_scheduler = _base_.deit
