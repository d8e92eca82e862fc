"""Parts of detectors on a plain ViT in CAE's form: four blocks, deconvolution pyramid, FPN."""
backbone = dict(
    type='mmvitssl.DenseFeatures',
    levels=(1 / 3, 1 / 2, 2 / 3, 1.0),  # of the depth
    encoder=dict(
        type='mmvitssl.ViT', arch=dict(base='base'), image_size=224, patch_size=16,
        gradient_checkpointing=True))
# positions are those of the checkpoint, resized to 42 x 68 and frozen
coco_encoder = dict(
    image_size=(672, 1088), position='sincos_row_first', interpolate_offset=0.1, drop_path=0.2)
detector = dict(backbone, encoder=dict(backbone['encoder'], **coco_encoder))
neck = [
    dict(type='mmvitssl.ScalePyramid', norm_cfg=dict(type='SyncBN')),
    dict(type='FPN', out_channels=256, num_outs=5),
]
