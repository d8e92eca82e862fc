# Linear probe of the multi-task ViT, ViT-S: its contrastive token under MoCo v3's protocol (the
# paper names none).
_base_ = './linear-mocov3_vit-base_8xb128-cosine-90e_in1k.py'

model = dict(
    encoder=dict(
        arch=dict(base='small'), position='learned', prefix_tokens=('contrast', 'rotation')),
    readout='token:contrast')
