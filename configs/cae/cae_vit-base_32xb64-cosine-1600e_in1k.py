# CAE, ViT-B, 1600 epochs; linear 70.3, attentive 77.2, fine-tuned 83.9.
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'

train_cfg = dict(max_epochs=1600)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=40,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=40,
        convert_to_iter_based=True),
]
