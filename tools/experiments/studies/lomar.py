"""LoMaR's claim: windows reach the accuracy of global masked reconstruction in less time."""

question = 'What do windows, ratios, positions and late mask tokens do to accuracy and time?'
page = 'lomar.md'
baseline = 'mae'
seeds = (0, 1, 2)
flops = 64e12
precision = 'bf16'
files = {'train_dataloader.dataset.file': 'cifar10_train.npz'}

place = 'configs/study/cifar10/{}_vit-p4_cifar10.py'
lomar = dict(config=place.format('lomar'))
masking = 'model.tasks.masked.masking.'
runs = {
    'mae': dict(config=place.format('mae'), label='MAE'),
    'simmim': dict(config=place.format('simmim'), label='SimMIM'),
    'lomar': dict(lomar, label='LoMaR, two windows of 5, 80 %'),
    # about as many tokens per image as two windows of 5
    'window3': dict(
        lomar, label='five windows of 3', options={masking + 'window': 3, masking + 'views': 5}),
    'window7': dict(
        lomar, label='one window of 7', options={masking + 'window': 7, masking + 'views': 1}),
    'ratio60': dict(lomar, label='60 % masked', options={masking + 'ratio': 0.6}),
    'ratio90': dict(lomar, label='90 % masked', options={masking + 'ratio': 0.9}),
    'absolute': dict(
        lomar, label='absolute positions',
        options={
            'model.encoder.position': 'sincos_row_first',
            'model.encoder.relative_position': None,
        }),
    'late': dict(
        lomar, label='mask tokens join before the third block', options={masking + 'mask_at': 2}),
}
del place, lomar, masking

pipeline = [
    dict(type='LoadImage', backend='opencv'),
    dict(type='MultiView', views=[dict(transforms=[])]),
    dict(type='PackViews'),
]
probe = dict(
    readouts=('mean', ),
    neighbours=(20, ),
    batch_size=500,
    bank=dict(type='PackedImages', file='cifar10_train.npz', stride=5, pipeline=pipeline),
    queries=dict(type='PackedImages', file='cifar10_test.npz', pipeline=pipeline))
del pipeline
