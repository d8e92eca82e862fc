# Multi-task ViT's ablation: contrast alone.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(
    encoder=dict(prefix_tokens=('contrast',)),
    tasks=dict(_delete_=True, contrast=_base_.contrast))
