# DINO, ViT-S, 800 epochs; published kNN 74.5, linear 77.0.
_base_ = './dino_vit-small_8xb128-cosine-100e_in1k.py'

model = dict(
    tasks=dict(
        distillation=dict(head=dict(teacher_temperature=0.07, warmup_epochs=30))))

train_cfg = dict(max_epochs=800)
