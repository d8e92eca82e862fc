# Fine-tuning of BEiT, ViT-B, at 448 pixels (LoMaR's figure 4).
_base_ = './finetune-beit_vit-base_32xb32-cosine-100e_in1k-384px.py'
model = dict(encoder=dict(image_size=448))
