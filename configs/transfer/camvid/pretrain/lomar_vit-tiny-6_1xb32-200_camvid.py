# LoMaR, ViT-Ti with 6 blocks, on CamVid: two windows of 5 x 5 patches an image.
_base_ = ['../../../_base_/models/lomar_vit.py', '../../_base_/camvid_pretrain.py']
model = dict(encoder=_base_.tiny, tasks=dict(masked=dict(masking=dict(window=5, views=2))))
