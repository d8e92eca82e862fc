# CAE, ViT-H with patches of 14 and the settings of ViT-L. The paper's was pretrained on
# ImageNet-22K and published with DINO and Group DETR (COCO 64.6) alone.
_base_ = './cae_vit-large_32xb64-cosine-1600e_in1k.py'
model = dict(encoder=dict(arch=dict(base='huge'), patch_size=14))
