# iBOT, ViT-S, with a last layer of their own for patches in both networks.
_base_ = './ibot_vit-small_16xb64-cosine-800e_in1k.py'
model = dict(tasks=dict(distillation=dict(projector=dict(patch_prototypes=8192))))
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='WeightDecayHook', end=0.4),
    dict(type='FreezeHook', names=('projector.last_layer', 'projector.patch_layer'), epochs=1),
    dict(type='CollapseHook'), dict(type='ReduceLogsHook'),
]
