# Multi-task ViT's ablation: rotation alone.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(
    encoder=dict(prefix_tokens=('rotation',)),
    target=None,
    tasks=dict(_delete_=True, rotation=_base_.rotation))
