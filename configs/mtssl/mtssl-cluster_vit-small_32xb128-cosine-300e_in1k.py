# Multi-task ViT with clustering for contrast: assignments to prototypes, which the momentum encoder
# predicts from the other view.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(
    encoder=dict(prefix_tokens=('cluster', 'rotation')),
    target=dict(momentum=0.996),
    tasks=dict(
        _delete_=True,
        cluster=dict(
            type='SelfDistillation', token='cluster', global_views=(0, 1), local_views=(),
            projector=dict(type='PrototypeMLP', prototypes=4096),
            head=dict(type='DINOLoss')),
        rotation=_base_.rotation, colour=_base_.colour, place=_base_.place))
