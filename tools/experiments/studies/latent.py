"""Latent targets on CIFAR-10: iBOT, DINOv2, I-JEPA, data2vec and MaskFeat beside MAE and DINO."""

_base_ = '_base_/cifar10_finetune.py'
question = 'Do methods that predict features learn on CIFAR-10 what MAE and DINO learn?'
page = 'latent.md'
baseline = 'random'

place = 'configs/study/cifar10/{}_vit-p4_cifar10.py'
runs = {
    'random': dict(config=place.format('mae'), iterations=0, label='random weights'),
    'mae': dict(config=place.format('mae'), label='MAE'),
    'dino': dict(config=place.format('dino'), label='DINO'),
    'ibot': dict(config=place.format('ibot'), label='iBOT'),
    'dinov2': dict(config=place.format('dinov2'), label='DINOv2'),
    'ijepa': dict(config=place.format('ijepa'), label='I-JEPA'),
    'data2vec': dict(config=place.format('data2vec'), label='data2vec'),
    'maskfeat': dict(config=place.format('maskfeat'), label='MaskFeat'),
    # goes on from MAE's encoder of the same seed
    'mae-ibot': dict(
        config=place.format('ibot_from-weights'), start='mae', baseline='mae',
        label="iBOT from MAE's encoder"),
}
del place
