# LoMaR, ViT-B with patches of 8 pixels, at the cost of patches of 16; fine-tuned top-1 84.3.
_base_ = './lomar_vit-base_4xb256-cosine-400e_in1k.py'
model = dict(encoder=dict(patch_size=8))
