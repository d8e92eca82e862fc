# Fine-tuning of SimMIM, Swin-B, at 224 pixels after 800 epochs at 192 pixels: a lower layer decay than
# after 100; published 84.0.
_base_ = './finetune-simmim_swin-base_16xb128-cosine-100e_in1k.py'
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
