# CAE, ViT-B, 800 epochs; linear 68.9, attentive 75.9, fine-tuned 83.8.
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'

train_cfg = dict(max_epochs=800)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=20,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=20,
        convert_to_iter_based=True),
]
