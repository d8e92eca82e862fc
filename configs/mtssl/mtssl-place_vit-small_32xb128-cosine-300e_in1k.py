# Multi-task ViT's ablation: relative position alone.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(
    encoder=dict(prefix_tokens=()),
    target=None,
    tasks=dict(_delete_=True, place=_base_.place))
