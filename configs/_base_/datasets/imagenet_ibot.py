"""ImageNet, without its labels, as iBOT's two global and ten local crops."""
_base_ = './imagenet_dino_10crops.py'

# 16 processes x 64 = 1024
train_dataloader = dict(batch_size=64)
