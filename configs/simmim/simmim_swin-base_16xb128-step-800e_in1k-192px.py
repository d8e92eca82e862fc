# SimMIM, Swin-B at 192 pixels with windows of 6, 800 epochs: the learning rate and the step of ViT-B;
# published fine-tuned top-1 84.0 at 224 pixels.
_base_ = './simmim_vit-base_16xb128-step-800e_in1k.py'
model = dict(
    encoder=dict(
        _delete_=True, type='SwinTransformer', arch='base', image_size=192, window_size=6,
        mask_token=True),
    tasks=dict(masked=dict(masking=dict(unit=1))))

# the bias tables are decayed, since the official skip list misses their names
optim_wrapper = dict(paramwise_cfg=dict(no_decay=('mask_token', )))
