# MoCo v2 (Chen et al., 2020), ViT-S, as DINO's authors ran it; linear top-1 71.6 (RePre's table).
# Temperature, momentum, queue and the three layers are theirs (github.com/facebookresearch/dino,
# issue 34); the widths of the projector are those of DINO's, which they do not state.
_base_ = [
    '../_base_/models/vit.py', '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/dino_100e.py', '../_base_/default_runtime.py']

model = dict(
    encoder=dict(arch=dict(base='small'), position='learned', initialisation='deit', drop_path=0.1),
    target=dict(momentum=0.996, end=1.0, schedule='cosine', when='before_forward', drop_path=0.0),
    tasks=dict(contrastive=dict(
        type='Contrastive', views=(0, 1),
        pairs=((0, 1), ),
        projector=dict(
            type='ProjectionMLP', hidden_channels=2048, out_channels=256, num_layers=3, bias=True,
            norm=False, last_norm=False),
        head=dict(type='QueueInfoNCE', size=65536, temperature=0.1, queues=1, first_view=1))))

# DINO's rate; weight decay stays at 0.05, and nothing is clipped
optim_wrapper = dict(optimizer=dict(weight_decay=0.05), clip_each=None)
train_cfg = dict(max_epochs=300)
custom_hooks = [
    dict(type='MomentumUpdateHook'), dict(type='CollapseHook'), dict(type='ReduceLogsHook')]
