# SETR-PUP, ViT-S with 6 heads (DINO's teacher, RePre on DINO, MoBY, DeiT), Cityscapes, 40k
# iterations. RePre's table 3: supervised 71.33, DINO 72.96, with RePre 73.40 mIoU.
_base_ = './setr-pup_vit-small_8xb1-40k_cityscapes-768x768.py'
model = dict(backbone=dict(encoder=dict(arch=dict(num_heads=6))))
