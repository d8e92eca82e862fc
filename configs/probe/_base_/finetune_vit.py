"""A whole ViT-B: mean of the patches, a fresh norm, mixup, cutmix and erasing (MAE, BEiT)."""
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    encoder=dict(type='ViT', arch=dict(base='base'), image_size=224, patch_size=16, drop_path=0.1),
    readout='mean', pooled_norm='fresh',
    augment=dict(type='BatchAugment', mixup=0.8, cutmix=1.0, erasing=0.25),
    label_smoothing=0.1,
    head=dict(type='LinearHead', num_classes=1000, std=2e-5))
# in place of the encoder
swin_tiny = dict(
    _delete_=True, type='SwinTransformer', arch='tiny', image_size=224, window_size=7)
