"""LoMaR's claim: windows reach the accuracy of global masked reconstruction in less time."""

_base_ = '_base_/cifar10.py'
question = 'What do windows, ratios, positions and late mask tokens do to accuracy and time?'
page = 'lomar.md'
baseline = 'mae'

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
