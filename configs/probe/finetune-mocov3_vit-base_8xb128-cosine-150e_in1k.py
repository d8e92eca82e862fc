# Fine-tuning of MoCo v3, ViT-B, from the class token with DeiT's recipe, its repeated
# augmentation included; published 83.2.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'

model = dict(
    encoder=dict(position='sincos_row_first'), readout='cls', pooled_norm=None,
    head=dict(std=0.02))
train_dataloader = dict(batch_size=128, sampler=dict(repeats=3))
# 5e-4 x 1024 / 512
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(decay_rate=1.0))
train_cfg = dict(max_epochs=150)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=5,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=5,
        convert_to_iter_based=True),
]
