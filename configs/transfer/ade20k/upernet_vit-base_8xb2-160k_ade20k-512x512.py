# UperNet, ViT-B, ADE20K, 160k iterations: the recipe that BEiT, MAE and CAE share, at CAE's middle
# learning rate, for encoders with absolute positions alone (MoCo v3, DINO, RePre).
_base_ = [
    '../_base_/upernet_vit.py', 'mmseg::_base_/datasets/ade20k.py', '../_base_/upernet_160k.py']
model = dict(backbone=dict(encoder=dict(drop_path=0.1)))

train_dataloader = dict(batch_size=2)
