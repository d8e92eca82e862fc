# SimSiam by its repository's recipe for ResNet-50 (68.1 there): SGD, no warm-up, the
# predictor at a constant rate. Nobody published a number of ViT with it.
_base_ = './simsiam_vit-small_32xb128-cosine-300e_in1k.py'

train_dataloader = dict(batch_size=64)
# 0.05 x 512 / 256
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'contrastive.predictor': dict(fix_lr=True)}))
auto_scale_lr = dict(base_batch_size=512)
train_cfg = dict(max_epochs=100)
param_scheduler = [dict(type='mmvitssl.CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0)]
