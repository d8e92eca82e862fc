# Fine-tuning of LoMaR, ViT-B, at 448 pixels (LoMaR's figure 4: 0.2 above MAE, 0.6 above BEiT).
_base_ = './finetune-lomar_vit-base_32xb32-cosine-100e_in1k-384px.py'
model = dict(encoder=dict(image_size=448))
