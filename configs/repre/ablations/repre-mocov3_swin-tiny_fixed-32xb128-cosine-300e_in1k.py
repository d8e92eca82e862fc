# RePre's ablation: fixed weights in place of learned ones.
_base_ = '../repre-mocov3_swin-tiny_32xb128-cosine-300e_in1k.py'
model = dict(balancer=dict(_delete_=True, type='FixedWeights'))
