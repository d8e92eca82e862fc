# Attentive probe of CAE, ViT-B; published 74.0, 75.9, 77.2 for 300, 800, 1600 epochs.
_base_ = './linear-cae_vit-base_32xb512-cosine-90e_in1k.py'

model = dict(head=dict(type='AttentiveHead'))
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.4, momentum=0.9))
auto_scale_lr = dict(base_batch_size=8192)
