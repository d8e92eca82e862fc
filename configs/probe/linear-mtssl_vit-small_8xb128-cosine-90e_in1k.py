# Linear probe of the multi-task ViT-S: its contrastive token, MoCo v3's protocol (it names none).
_base_ = './linear-mocov3_vit-base_8xb128-cosine-90e_in1k.py'
model = dict(
    encoder=dict(
        arch=dict(base='small'), position='learned', prefix_tokens=('contrast', 'rotation')),
    readout='token:contrast')
