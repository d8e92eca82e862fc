# Fine-tuning on a tenth of CIFAR-10's labels.
_base_ = 'cifar10.py'
finetune = {
    'finetune_10pct': dict(
        config='configs/study/cifar10/finetune_vit-p4_cifar10.py',
        files={
            'train_dataloader.dataset.dataset.file': 'cifar10_train.npz',
            'test_dataloader.dataset.file': 'cifar10_test.npz',
        },
        options={'train_dataloader.dataset.fraction': 0.1},
        metrics=['accuracy/top1']),
}
