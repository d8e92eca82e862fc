# CAE with a regressor of self-attention over visible and masked tokens, a choice that the paper
# calls slightly more expensive and slightly worse (section 3.2).
_base_ = './cae_vit-base_32xb64-cosine-300e_in1k.py'
model = dict(tasks=dict(context=dict(regressor=dict(attention='self'))))
