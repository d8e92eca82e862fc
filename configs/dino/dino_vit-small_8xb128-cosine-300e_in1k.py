# DINO, ViT-S, 300 epochs; linear top-1 75.9 as RePre reports it.
_base_ = './dino_vit-small_8xb128-cosine-100e_in1k.py'

model = dict(
    tasks=dict(
        distillation=dict(head=dict(teacher_temperature=0.07, warmup_epochs=30))))

train_cfg = dict(max_epochs=300)
