# Fine-tuning of SimMIM, Swin-B, at 224 pixels; published 83.5 after 100 epochs at 192 pixels.
_base_ = './finetune-simmim_swin-base_16xb128-cosine-100e_in1k-192px.py'
model = dict(encoder=dict(image_size=224, window_size=7))
