# DINO, Swin-T, 300 epochs.
_base_ = './dino_swin-tiny_8xb128-cosine-100e_in1k.py'
model = dict(tasks=dict(distillation=dict(head=dict(teacher_temperature=0.07, warmup_epochs=30))))

train_cfg = dict(max_epochs=300)
