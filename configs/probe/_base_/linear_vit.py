"""A linear classifier on the class token of a frozen ViT-B."""
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    encoder=dict(type='ViT', arch=dict(base='base'), image_size=224, patch_size=16),
    frozen=True, readout='cls',
    head=dict(type='LinearHead', num_classes=1000))
# in place of the encoder
swin_tiny = dict(
    _delete_=True, type='SwinTransformer', arch='tiny', image_size=224, window_size=7)
