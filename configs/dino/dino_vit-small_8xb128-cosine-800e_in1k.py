# DINO, ViT-S, 800 epochs; published kNN 74.5, linear 77.0.
_base_ = './dino_vit-small_8xb128-cosine-100e_in1k.py'

model = dict(
    tasks=dict(
        distillation=dict(head=dict(teacher_temperature=0.07, warmup_epochs=30))))

train_cfg = dict(max_epochs=800)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=10,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, begin=10, end=800,
        convert_to_iter_based=True),
]
