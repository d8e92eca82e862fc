# MoCo v2 by its repository's recipe for ResNet-50 (67.7 there): SGD, no warm-up, T = 0.2,
# a momentum of 0.999. Nobody published a number of ViT with it.
_base_ = './mocov2_vit-small_8xb128-cosine-300e_in1k.py'

model = dict(
    target=dict(momentum=0.999, schedule='constant'),
    tasks=dict(
        contrastive=dict(
            # hidden layer as wide as the features
            projector=dict(hidden_channels=None, out_channels=128, num_layers=2),
            head=dict(temperature=0.2))))
train_dataloader = dict(batch_size=32)
# 0.03 at a batch of 256; everything is decayed
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4),
    constructor='DefaultOptimWrapperConstructor', paramwise_cfg=None)
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(max_epochs=200)
param_scheduler = [dict(type='mmvitssl.CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0)]
