# MAE, ViT-L, with weights, gradients and optimizer states in shards over the processes (FSDP).
_base_ = './mae_vit-large_64xb64-cosine-800e_in1k.py'
runner_type = 'FlexibleRunner'
strategy = dict(type='mmvitssl.ShardedStrategy')
