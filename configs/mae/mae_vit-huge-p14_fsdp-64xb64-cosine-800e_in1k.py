# MAE, ViT-H, with weights, gradients and optimizer states in shards over the processes (FSDP).
_base_ = './mae_vit-huge-p14_64xb64-cosine-800e_in1k.py'
runner_type = 'FlexibleRunner'
strategy = dict(type='mmvitssl.ShardedStrategy')
