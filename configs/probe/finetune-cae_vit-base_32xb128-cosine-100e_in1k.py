# Fine-tuning of CAE, ViT-B: the pretrained norm behind the pooling, fresh bias tables beside the
# fixed positions; published 83.6, 83.8, 83.9 for 300, 800, 1600 epochs.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'
model = dict(
    encoder=dict(
        position='sincos_row_first', relative_position='block_bias', new_relative=True,
        qkv_bias='qv', layer_scale=0.1),
    pooled_norm='pretrained')
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=8e-3))
auto_scale_lr = dict(base_batch_size=4096)
param_scheduler = [dict(_base_.linear, end=5), dict(_base_.cosine, eta_min_ratio=1.25e-4, begin=5)]
