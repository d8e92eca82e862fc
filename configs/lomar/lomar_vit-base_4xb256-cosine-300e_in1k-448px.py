# LoMaR at 448 x 448 pixels with 9 windows an image, 300 epochs (figure 4).
_base_ = './lomar_vit-base_4xb256-cosine-300e_in1k-384px.py'
model = dict(encoder=dict(image_size=448), tasks=dict(masked=dict(masking=dict(views=9))))
