# Feature distillation: ViT-S/16 learns the patch features of a frozen DINOv2 ViT-B/14 (timm's
# model, facebookresearch's file or timm's), nothing masked. No published result.
_base_ = [
    '../_base_/models/mae_vit.py', '../_base_/datasets/imagenet_mae.py',
    '../_base_/schedules/mae_800e.py', '../_base_/default_runtime.py']

model = dict(
    encoder=dict(arch=dict(_delete_=True, base='small')),
    tasks=dict(masked=dict(
        masking=None,
        neck=dict(_delete_=True, type='TokenPredictor', layers=2),
        target=dict(
            _delete_=True, type='FrozenTarget', teacher='vit_base_patch14_dinov2.lvd142m',
            checkpoint='data/weights/dinov2_vitb14_pretrain.pth', normalise=True),
        head=dict(_delete_=True, type='LatentLoss', distance='cosine'))))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(base_batch_size=1024)
train_cfg = dict(max_epochs=100)
