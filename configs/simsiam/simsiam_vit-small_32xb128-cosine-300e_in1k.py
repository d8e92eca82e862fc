# SimSiam (Chen and He, 2021), ViT-S; its paper has no Vision Transformer.
_base_ = [
    '../_base_/models/simclr_vit.py', '../_base_/datasets/imagenet_mocov2.py',
    '../_base_/schedules/shared_300e.py', '../_base_/default_runtime.py']

model = dict(
    tasks=dict(
        contrastive=dict(
            keys='detached',
            projector=dict(
                _delete_=True,
                type='ProjectionMLP', hidden_channels=2048, out_channels=2048,
                num_layers=3, bias=False, last_norm=True),
            predictor=dict(
                type='ProjectionMLP', hidden_channels=512, num_layers=2, bias=False,
                last_bias=True, last_norm=False),
            # - cos / 2, shifted so that learned weights have something positive to weigh
            head=dict(_delete_=True, type='CosineLoss', scale=0.5, offset=0.5))))
train_dataloader = dict(batch_size=128)
