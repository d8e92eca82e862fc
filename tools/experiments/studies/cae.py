"""CAE's claim: alignment and decoder both help, and attention reads more than a mean."""

_base_ = '_base_/cifar10.py'
question = 'What do alignment and decoder do, and how far apart are attentive and linear probes?'
page = 'cae.md'
baseline = 'cae'

cae = dict(config='configs/study/cifar10/cae-rgb_vit-p4_cifar10.py')
task = 'model.tasks.context.'
runs = {
    'cae': dict(cae, label='CAE (pixels)'),
    'no-alignment': dict(cae, label='no alignment', options={task + 'align_weight': 0.0}),
    'no-decoder': dict(cae, label='no decoder', options={task + 'decoder.depth': 0}),
    'neither': dict(
        cae, label='neither', options={task + 'align_weight': 0.0, task + 'decoder.depth': 0}),
    'mae': dict(config='configs/study/cifar10/mae_vit-p4_cifar10.py', label='MAE'),
}
del cae, task

finetune = {
    'attentive': dict(
        config='configs/study/cifar10/attentive_vit-p4_cifar10.py',
        files={
            'train_dataloader.dataset.dataset.file': 'cifar10_train.npz',
            'test_dataloader.dataset.file': 'cifar10_test.npz',
        },
        options={'train_dataloader.dataset.fraction': 0.5, 'train_cfg.max_iters': 1000},
        metrics=['accuracy/top1']),
}
