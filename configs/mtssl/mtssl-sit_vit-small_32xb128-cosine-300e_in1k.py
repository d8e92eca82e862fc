# Multi-task ViT in SiT's form, which the paper follows: one encoder, a simple MLP, and contrast
# between two views that are both altered.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(
    target=None,
    tasks=dict(contrast=dict(
        keys='online',
        projector=dict(num_layers=2, last_norm=False),
        predictor=None,
        head=dict(_delete_=True, type='NTXent', temperature=0.2))))
