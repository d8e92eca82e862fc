# Linear probe of SimSiam's repository, which has ResNets: LARS; no number of ViT was published.
_base_ = './linear-mocov3_vit-small_8xb128-cosine-90e_in1k.py'

train_dataloader = dict(batch_size=512)
# 0.1 x 4096 / 256
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='LARS', lr=1.6, momentum=0.9, weight_decay=0.0, always_adapt=True))
auto_scale_lr = dict(base_batch_size=4096)
