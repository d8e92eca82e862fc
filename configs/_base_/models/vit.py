"""What pretrainings of a ViT share: ImageNet's mean and deviation, 224 pixels, patches of 16."""
model = dict(
    type='Pretrainer',
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    encoder=dict(type='ViT', image_size=224, patch_size=16))
# in place of the encoder
swin_tiny = dict(
    _delete_=True, type='SwinTransformer', arch='tiny', image_size=224, window_size=7)
