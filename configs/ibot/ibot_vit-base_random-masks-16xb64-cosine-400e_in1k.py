# iBOT, ViT-B, masks of single patches; published kNN 77.3, linear 79.8, fine-tuned 84.1.
_base_ = './ibot_vit-base_16xb64-cosine-400e_in1k.py'
model = dict(tasks=dict(masked=dict(masking=dict(shape='random'))))
