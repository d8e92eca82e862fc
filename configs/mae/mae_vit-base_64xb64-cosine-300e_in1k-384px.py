# MAE at 384 x 384 pixels, 300 epochs: the baseline of LoMaR's figure 4.
_base_ = './mae_vit-base_64xb64-cosine-300e_in1k.py'
model = dict(encoder=dict(image_size=384))
