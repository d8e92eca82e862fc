# CAE, ViT-B, 300 epochs; linear 64.1, attentive 73.8, fine-tuned 83.6.
_base_ = [
    '../_base_/models/cae_vit.py', '../_base_/datasets/imagenet_cae.py',
    '../_base_/schedules/beit_800e.py', '../_base_/default_runtime.py']
train_dataloader = dict(batch_size=64)

train_cfg = dict(max_epochs=300)
