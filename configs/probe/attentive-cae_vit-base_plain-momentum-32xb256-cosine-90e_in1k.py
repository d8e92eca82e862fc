# Attentive probe of CAE, ViT-B, as its paper words it: SGD with plain momentum.
_base_ = './attentive-cae_vit-base_32xb256-cosine-90e_in1k.py'
optim_wrapper = dict(optimizer=dict(nesterov=False))
