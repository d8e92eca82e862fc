# DINO, ViT-S, 300 epochs as the repository trains them: prototypes of free length (norm_last_layer
# off). Published kNN 73.3, linear 76.0 (75.9 as RePre reports it).
_base_ = './dino_vit-small_8xb128-cosine-100e_in1k.py'
model = dict(tasks=dict(distillation=dict(
    projector=dict(fixed_lengths=False),
    head=dict(teacher_temperature=0.07, warmup_epochs=30))))

train_cfg = dict(max_epochs=300)
