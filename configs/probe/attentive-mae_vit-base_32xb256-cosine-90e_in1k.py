# Attentive probe of MAE, ViT-B; published by CAE 74.2 for 1600 epochs.
_base_ = './attentive-cae_vit-base_32xb256-cosine-90e_in1k.py'
model = dict(
    encoder=dict(
        _delete_=True, type='ViT', arch=dict(base='base'), image_size=224, patch_size=16,
        position='sincos_column_first'))
