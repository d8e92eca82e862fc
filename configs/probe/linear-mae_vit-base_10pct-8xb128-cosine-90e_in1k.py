# Linear probe of MAE, ViT-B, on 10 % of the labels; a batch for as many images, nothing published.
_base_ = './linear-mae_vit-base_32xb512-cosine-90e_in1k.py'
train_dataloader = dict(
    batch_size=128,
    dataset=dict(
        _delete_=True, type='LabelSubset', fraction=0.1,
        dataset={{_base_.train_dataloader.dataset}}))
optim_wrapper = dict(optimizer=dict(lr=0.4))  # 0.1 x 1024 / 256
auto_scale_lr = dict(base_batch_size=1024)
