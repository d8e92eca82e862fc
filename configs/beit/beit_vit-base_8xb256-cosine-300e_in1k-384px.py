# BEiT at 384 x 384 pixels, 300 epochs: the baseline of LoMaR's figure 4.
_base_ = './beit_vit-base_8xb256-cosine-300e_in1k.py'
model = dict(encoder=dict(image_size=384))
