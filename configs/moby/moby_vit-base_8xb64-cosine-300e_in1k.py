# MoBY, DeiT-B.
_base_ = './moby_vit-small_8xb64-cosine-300e_in1k.py'
model = dict(encoder=dict(arch=dict(_delete_=True, base='base')))
