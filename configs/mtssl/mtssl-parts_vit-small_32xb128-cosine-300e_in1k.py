# Multi-task ViT with part of a patch to reconstruct: a hidden square of half its side.
_base_ = './mtssl_vit-small_32xb128-cosine-300e_in1k.py'

model = dict(
    tasks=dict(
        _delete_=True,
        contrast={{_base_.contrast}},
        rotation={{_base_.rotation}},
        colour={{_base_.colour}},
        place={{_base_.place}},
        paint=dict(
            type='Inpainting', views=(0, 1), patches=40 / 196, modes=('mask', ), distance='l1',
            part=0.5)))
