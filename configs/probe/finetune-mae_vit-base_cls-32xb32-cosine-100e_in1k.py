# Fine-tuning of MAE, ViT-B, from the class token behind the pretrained norm.
_base_ = './finetune-mae_vit-base_32xb32-cosine-100e_in1k.py'
model = dict(readout='cls', pooled_norm=None)
