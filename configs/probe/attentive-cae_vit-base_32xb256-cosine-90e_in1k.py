# Attentive probe of CAE, ViT-B; published 74.0, 75.9, 77.2 for 300, 800, 1600 epochs. As its code:
# Nesterov's momentum, and torchvision's crop.
_base_ = './linear-cae_vit-base_32xb512-cosine-90e_in1k.py'
model = dict(head=dict(type='AttentiveHead'))
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=_base_.train_pipeline))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.4, momentum=0.9, nesterov=True))
auto_scale_lr = dict(base_batch_size=8192)
