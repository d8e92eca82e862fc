# RePre on MoCo v3, ViT-B; published linear top-1 77.2 (300 epochs), 0.7 above MoCo v3 alone.
_base_ = './repre-mocov3_vit-small_32xb128-cosine-300e_in1k.py'
model = dict(encoder=dict(arch=dict(_delete_=True, base='base')), tasks=dict(reconstruction=dict()))
